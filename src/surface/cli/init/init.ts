import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { packageRoot } from '../../../config/package-files.ts'
import { messageOf } from '../../../kernel/errors.ts'
import { churnFiles } from './churn-data.ts'
import { InitDirError, InitFilesExistError, TemplateUnknownError } from './errors.ts'

export const templates = ['starter', 'sklearn'] as const
export type Template = (typeof templates)[number]

export interface InitOptions {
  /** Folder of the new project; made where it is not there. Relative to the working directory. */
  dir: string
  /** `starter`: a trainer in plain JavaScript, runs with Node alone. `sklearn`: scikit-learn. */
  template: string
  /** Overwrite files that are there. */
  force: boolean
}

/**
 * Writes a commented project that runs as it is.
 * @returns paths of the files written, relative to the folder, sorted
 * @throws InitFilesExistError before anything is written; TemplateUnknownError; InitDirError
 */
export async function initProject(options: InitOptions): Promise<string[]> {
  const template = templates.find((name) => name === options.template)
  if (template === undefined) throw new TemplateUnknownError(options.template, templates)
  const dir = resolve(options.dir)
  const files = [...(await templateFiles(template)), ...churnFiles()].toSorted((a, b) => (a.path < b.path ? -1 : 1))
  const taken = files.map(({ path }) => path).filter((path) => existsSync(join(dir, path)))
  if (taken.length > 0 && !options.force) throw new InitFilesExistError(dir, taken)
  for (const file of files) await write(join(dir, file.path), file.text, options.force)
  return files.map(({ path }) => path)
}

/** npm leaves `.gitignore` out of packages, so that it is kept under another name. */
const renamed: Record<string, string> = { gitignore: '.gitignore' }

async function templateFiles(template: Template): Promise<{ path: string; text: string }[]> {
  const folder = join(packageRoot(), 'templates', template)
  const entries = await readdir(folder, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
  return Promise.all(
    names.map(async (name) => ({ path: renamed[name] ?? name, text: await readFile(join(folder, name), 'utf8') })),
  )
}

/** Without force a file that appeared since the check is kept, and named. */
async function write(path: string, text: string, force: boolean): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text, { flag: force ? 'w' : 'wx' })
  } catch (error) {
    throw new InitDirError(dirname(path), messageOf(error))
  }
}
