import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { readIfThere } from '../atomic-file.ts'
import type { ProcessIdentity } from '../process-identity.ts'
import { errnoOf } from '../system-error.ts'
import { rowOfStat } from './process-table.ts'

/**
 * What one attempt of a step leaves in its directory, so that anybody who comes after a crash knows how it stands:
 *
 *   claim   created exclusively, by the step as its first act, or by a controller that gives it up: who creates it
 *           first decides whether the step runs
 *   pid     the step's pid and start time, ended by a newline (the file counts from then on)
 *   log     standard output and error, appended
 *   exit    the exit status, by rename
 */
export const stepFiles = (dir: string) => ({
  claim: join(dir, 'claim'),
  pid: join(dir, 'pid'),
  log: join(dir, 'log'),
  exit: join(dir, 'exit'),
})

/** Exit status of a wrapper that could not make its claim. The command was not run. */
export const GIVEN_UP = 111

/**
 * Run as `/bin/sh -c WRAPPER sh <dir> <command> <boot id>`, with the command's own shell as its child. Built-ins only, besides
 * one mv: each further program would cost a millisecond a step.
 * - `set -C` creates the claim exclusively. Descriptor 3 tells the parent, if it still lives, that the claim is made.
 * - Signals are caught, not ignored, since ignoring them would be inherited by the command: the wrapper lives on to
 *   write down how the command took them.
 */
export const WRAPPER = `
set -C
{ echo step > "$1/claim"; } 2>/dev/null || exit ${GIVEN_UP}
set +C
if [ -r /proc/$$/stat ]; then read -r stat < /proc/$$/stat; else stat="$$ ps $(ps -o lstart= -p $$)"; fi
printf '%s %s\\n' "$3" "$stat" > "$1/pid" || exit ${GIVEN_UP}
exec 3>&-
trap : HUP INT TERM
/bin/sh -c "$2"
status=$?
printf '%s\\n' "$status" > "$1/exit.new" && mv -f "$1/exit.new" "$1/exit"
exit "$status"
`

/** @returns true when the claim is the controller's (now or from before): the step has not run and never will */
export function claimForController(dir: string): boolean {
  const { claim } = stepFiles(dir)
  try {
    const fd = openSync(claim, 'wx', 0o600)
    writeSync(fd, 'controller\n')
    closeSync(fd)
    return true
  } catch (thrown) {
    if (errnoOf(thrown) !== 'EEXIST') throw thrown
    return readIfThere(claim) === 'controller\n'
  }
}

/** Null until the step has written it down. */
export function readStepPid(dir: string): ProcessIdentity | null {
  const text = readIfThere(stepFiles(dir).pid)
  if (text === null || !text.endsWith('\n')) return null
  const [, boot, stat] = /^(\S+) (.+)$/.exec(text.trim()) ?? []
  if (boot === undefined || stat === undefined) return null
  const fromPs = /^(\d+) ps (.+)$/.exec(stat)
  if (fromPs !== null) return { pid: Number(fromPs[1]), startTime: fromPs[2]! }
  const row = rowOfStat(stat)
  return row === null ? null : { pid: row.pid, startTime: `${boot}-${row.started}` }
}

/** Null until the step has ended. */
export function readStepExit(dir: string): number | null {
  const text = readIfThere(stepFiles(dir).exit)
  return text === null ? null : Number.parseInt(text, 10)
}
