import { existsSync, statSync } from 'node:fs'
import path from 'node:path'

import { configNames } from '../../config/find-config.ts'
import { NoProjectError } from './errors.ts'

const DATA_DIR = '.millrace'

/**
 * The data directory that a command means: what is given, else `.millrace` beside the nearest configuration file,
 * else the nearest `.millrace`, each searched from `cwd` upwards.
 * @returns an absolute path; it need not exist
 * @throws NoProjectError
 */
export function findDataDir(options: { dataDir?: string; config?: string; cwd: string }): string {
  const { dataDir, config, cwd } = options
  if (dataDir !== undefined) return path.resolve(cwd, dataDir)
  if (config !== undefined) return path.join(folderOf(path.resolve(cwd, config)), DATA_DIR)
  const folder = upwards(cwd, hasConfig)
  const found = folder ?? upwards(cwd, (dir) => existsSync(path.join(dir, DATA_DIR)))
  if (found === null) throw new NoProjectError(cwd)
  return path.join(found, DATA_DIR)
}

/** The folder where a configuration file is looked for: the nearest upwards that has one, else `cwd`. */
export function findConfigFolder(cwd: string): string {
  return upwards(cwd, hasConfig) ?? cwd
}

/** `--config` may name a file or its folder. */
const folderOf = (config: string) =>
  statSync(config, { throwIfNoEntry: false })?.isDirectory() === true ? config : path.dirname(config)

const hasConfig = (dir: string) => configNames.some((file) => existsSync(path.join(dir, file)))

function upwards(from: string, holds: (dir: string) => boolean): string | null {
  let dir = path.resolve(from)
  for (;;) {
    if (holds(dir)) return dir
    const above = path.dirname(dir)
    if (above === dir) return null
    dir = above
  }
}
