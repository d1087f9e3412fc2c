// Each attempt of a step says in a file outside the project that it has begun, and that it has come to its end.
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const { env } = process

/** Runs the body of a step between two lines in the witness file, and slowly enough to be killed in the middle. */
export async function witnessed(body) {
  say('began')
  await sleep(150 + Math.random() * 450)
  body()
  await sleep(Math.random() * 150)
  say('ended')
}

/** One short line, appended by one write: lines of several processes don't mix. */
function say(what) {
  const { MILLRACE_RUN_ID: run, MILLRACE_STEP: step, MILLRACE_ATTEMPT: attempt } = env
  appendFileSync(env.CRASH_WITNESS, `${JSON.stringify({ what, run, step, attempt: Number(attempt) })}\n`)
}
