import { join } from 'node:path'
import type { Clock } from '../kernel/clock.ts'
import { readRehearsal, writeRehearsal } from '../kernel/rehearsal-clock.ts'
import { readIfThere, writeFileAtomic } from '../kernel/runtime/atomic-file.ts'
import { NotRehearsedError } from '../surface/api/handlers/status-view.ts'
import type { RehearsalControl } from '../surface/api/handlers/services.ts'

interface Hold {
  by: string
  why: string
  sinceMs: number
}

/** The rehearsal clock with the names of those who hold it: it goes on when the last one lets go. */
export function rehearsalControl(dataDir: string, clock: Clock): RehearsalControl {
  const path = join(dataDir, 'clock-holds.json')
  const holds = (): Hold[] => JSON.parse(readIfThere(path) ?? '[]') as Hold[]
  const keep = (next: Hold[]) => writeFileAtomic(path, JSON.stringify(next))
  let last: Promise<void> = Promise.resolve()
  const inTurn = (work: () => Promise<void>): Promise<void> => (last = last.then(work, work))
  const mustBeRehearsed = () => {
    if (readRehearsal(dataDir) === null) throw new NotRehearsedError()
  }
  return {
    view() {
      const rehearsed = readRehearsal(dataDir) !== null
      return { calendarMs: clock.calendarMs(), epochMs: clock.epochMs(), rehearsed, holds: rehearsed ? holds() : [] }
    },
    async set(calendarMs) {
      mustBeRehearsed()
      await writeRehearsal(dataDir, { kind: 'set', calendarMs })
    },
    async hold(by, why) {
      mustBeRehearsed()
      await inTurn(async () => {
        keep([...holds().filter((h) => h.by !== by), { by, why, sinceMs: clock.epochMs() }])
        await writeRehearsal(dataDir, { kind: 'hold' })
      })
    },
    async release(by) {
      mustBeRehearsed()
      await inTurn(async () => {
        const left = holds().filter((h) => h.by !== by)
        // The clock first: a hold that nobody is named for would stay for ever.
        if (left.length === 0) await writeRehearsal(dataDir, { kind: 'release' })
        keep(left)
      })
    },
  }
}
