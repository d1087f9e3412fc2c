import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The folder of the installed package, found upwards from this file: the build puts code into other folders than `src`
 * has, so that fixed steps up would not do.
 */
export function packageRoot(from: string = import.meta.url): string {
  for (let dir = dirname(fileURLToPath(from)); ; dir = dirname(dir)) {
    const manifest = join(dir, 'package.json')
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'millrace')
      return dir
    if (dirname(dir) === dir)
      throw new Error(`No package.json of millrace above ${fileURLToPath(from)}: the installation is damaged.`)
  }
}

/**
 * A module of this package that Node can start or import.
 * @param module - under `src`, without ending: `index`, `config/evaluate-config`
 * @returns `<package>/src/<module>.ts` while this file runs as TypeScript, `<package>/dist/<module>.js` once built
 */
export function packageModule(module: string): string {
  const built = !import.meta.url.endsWith('.ts')
  return built ? join(packageRoot(), 'dist', `${module}.js`) : join(packageRoot(), 'src', `${module}.ts`)
}
