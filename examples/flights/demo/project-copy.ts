import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { landWeek } from '../land-data.ts'
import { weekName } from '../weeks.ts'
import { applyEdit, type Edit } from './faults.ts'

/** What a user of Millrace would have in a folder: a fresh copy of the example, for the demo to run and to break. */

export interface Place {
  projectDir: string
  dataDir: string
  weeksDir: string
  logPath: string
}

const EXAMPLE = resolve(import.meta.dirname, '..')
const PROJECT_FILES = ['millrace.config.ts', 'features.sql', 'land-data.ts', 'weeks.ts', 'train']
const WEEK_MS = 7 * 86_400_000

export function placeOf(home: string): Place {
  const projectDir = join(home, 'flights')
  return {
    projectDir,
    dataDir: join(projectDir, '.millrace'),
    weeksDir: join(projectDir, 'data', 'weeks'),
    logPath: join(home, 'up.log'),
  }
}

/**
 * Copies the project, without its tests.
 * @param weeks - so many have landed already, before the week that holds the moment
 * @param setUp - how it differs from the example
 */
export async function copyProject(
  home: string,
  weeks: { beforeMs: number; count: number },
  setUp: Edit[],
): Promise<Place> {
  const place = placeOf(home)
  await rm(home, { recursive: true, force: true })
  const isForUsers = (source: string) => !source.endsWith('.test.ts')
  for (const name of PROJECT_FILES) {
    await cp(join(EXAMPLE, name), join(place.projectDir, name), { recursive: true, filter: isForUsers })
  }
  await mkdir(place.weeksDir, { recursive: true })
  for (let week = weeks.count; week > 0; week--) {
    await landWeek(weekName(weeks.beforeMs - week * WEEK_MS), place.weeksDir)
  }
  await editProject(place, setUp)
  return place
}

/** @throws RangeError if an edit does not fit: then nothing of that file is changed */
export async function editProject({ projectDir }: Place, edits: Edit[]): Promise<void> {
  for (const edit of edits) {
    const path = join(projectDir, edit.file)
    await writeFile(path, applyEdit(await readFile(path, 'utf8'), edit))
  }
}
