// Fails where package-lock.json lacks the binaries of a platform that Millrace runs on: such a lock was written by a
// client that only saw its own platform, and `npm ci` elsewhere would install a package without its heart.
import { readFileSync } from 'node:fs'

const { packages } = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'))
const platforms = ['linux-x64', 'linux-arm64', 'darwin-arm64']
const missing = []
for (const [path, entry] of Object.entries(packages)) {
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    if (!platforms.some((platform) => name.includes(platform))) continue
    const found = [`${path}/node_modules/${name}`, `node_modules/${name}`].some((p) => p.replace(/^\//, '') in packages)
    if (!found) missing.push(`${name} (of ${path.replace('node_modules/', '') || 'the project'})`)
  }
}
if (missing.length > 0) {
  console.error(`package-lock.json lacks:\n  ${missing.join('\n  ')}`)
  process.exit(1)
}
console.log(`package-lock.json names every binary for ${platforms.join(', ')}.`)
