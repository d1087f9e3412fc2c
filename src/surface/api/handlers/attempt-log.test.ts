import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openAttemptLog } from './attempt-log.ts'

it('takes a log that is not there for none, and tells of one that can not be read', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-attempt-log-'))
  try {
    writeFileSync(join(dir, 'log'), 'first\n')
    symlinkSync('loop', join(dir, 'loop'))
    const file = await openAttemptLog(join(dir, 'log'))
    expect(await file!.readFile('utf8')).toBe('first\n')
    await file!.close()
    expect(await openAttemptLog(join(dir, 'removed', 'log'))).toBeNull()
    await expect(openAttemptLog(join(dir, 'loop'))).rejects.toMatchObject({ code: 'ELOOP' })
  } finally {
    rmSync(dir, { recursive: true })
  }
})
