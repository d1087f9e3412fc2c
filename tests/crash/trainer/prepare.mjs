// A step that others need: leaves a number for them.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { witnessed } from './witness.mjs'

const { MILLRACE_OUTPUT_DIR, MILLRACE_STEP } = process.env
await witnessed(() => {
  const weight = MILLRACE_STEP === 'first' ? 2 : -1
  writeFileSync(join(MILLRACE_OUTPUT_DIR, 'weight.json'), JSON.stringify(weight))
})
