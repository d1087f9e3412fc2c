import { expect, it } from 'vitest'
import { inTurn, type Run } from './run.ts'

const run = (id: string, status: Run['status'], triggerKind: string) => ({ id, status, triggerKind })

it('what runs already comes first, then the order of asking, backfills last', () => {
  const runs = [
    run('run-1', 'queued', 'backfill'),
    run('run-2', 'queued', 'cron'),
    run('run-3', 'running', 'backfill'),
    run('run-4', 'queued', 'manual'),
    run('run-5', 'running', 'alarm'),
  ]
  expect(inTurn(runs).map(({ id }) => id)).toEqual(['run-3', 'run-5', 'run-2', 'run-4', 'run-1'])
})
