// Fails where package-lock.json lacks the binary of a platform that Millrace runs on, or names another version of it
// than its package asks for: such a lock was written from what one platform's client could see, and `npm ci` elsewhere
// would fail or install a package without its heart.
import { readFileSync } from 'node:fs'

const { packages } = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'))
const platforms = ['linux-x64', 'linux-arm64', 'darwin-arm64']
const problems = []
for (const [path, entry] of Object.entries(packages)) {
  for (const [name, wanted] of Object.entries(entry.optionalDependencies ?? {})) {
    if (!platforms.some((platform) => name.includes(platform))) continue
    const found = packages[`${path}/node_modules/${name}`] ?? packages[`node_modules/${name}`]
    const exact = /^\d/.test(wanted)
    if (found === undefined) problems.push(`${name} is missing (of ${path})`)
    else if (exact && found.version !== wanted) problems.push(`${name} is ${found.version}, ${path} wants ${wanted}`)
  }
}
if (problems.length > 0) {
  console.error(`package-lock.json:\n  ${problems.join('\n  ')}`)
  process.exit(1)
}
console.log(`package-lock.json names every binary for ${platforms.join(', ')}.`)
