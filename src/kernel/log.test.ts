import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openLog, warnOnce } from './log.ts'

it('writes lines of JSON at once, with the process and without secrets', () => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-log-'))
  const path = join(dir, 'logs/x.log')
  const log = openLog({ process: 'x', path })
  log.child({ run: 'run-1' }).info({ token: 'secret', record: { token: 'secret' }, n: 1 }, 'it happened')
  log.debug({}, 'not shown')
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  expect(lines).toHaveLength(1)
  expect(lines[0]).not.toContain('secret')
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    process: 'x',
    pid: process.pid,
    run: 'run-1',
    n: 1,
    msg: 'it happened',
  })
  rmSync(dir, { recursive: true })
})

it('goes on when its disk is full', () => {
  const log = openLog({ process: 'x', path: '/dev/full' })
  expect(() => {
    for (let i = 0; i < 100; i++) log.info({ i }, 'lost')
  }).not.toThrow()
})

it('warns of each thing once', () => {
  const said: string[] = []
  const warn = warnOnce({ warn: (text: string) => void said.push(text) })
  for (const text of ['a', 'b', 'a']) warn(text)
  expect(said).toEqual(['a', 'b'])
})
