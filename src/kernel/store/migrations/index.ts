import type { Migration } from 'kysely/migration'
import * as start from './0001-start.ts'
import * as closeTheLoop from './0002-close-the-loop.ts'
import * as serving from './0003-serving.ts'
import * as openWork from './0004-open-work.ts'

/** In order. A released migration is never edited: a change is a new one. */
export const migrations: Record<string, Migration> = {
  '0001-start': start,
  '0002-close-the-loop': closeTheLoop,
  '0003-serving': serving,
  '0004-open-work': openWork,
}
