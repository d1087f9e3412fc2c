import { afterEach, expect, it, vi } from 'vitest'
import type { Call } from '../api/handlers.ts'
import type { CanaryView } from '../api/canary-schemas.ts'
import { fakeControlPlane } from '../../testing/fake-handlers/index.ts'
import { Cli } from './cli.ts'
import { showCanaries } from './show-canary.ts'
import { nextForTried } from './tried.ts'

const call: Call = { signal: new AbortController().signal, via: 'socket' }
const canary = async (): Promise<CanaryView> =>
  fakeControlPlane().handlers.canaries.get({ endpoint: 'late-flight' }, call)

function printed(json: boolean, show: (cli: Cli) => void): string {
  let text = ''
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => ((text += String(chunk)), true))
  try {
    show(new Cli(() => ({ json, color: false })))
  } finally {
    write.mockRestore()
  }
  return text
}

afterEach(() => vi.restoreAllMocks())

it('shows steps, shares and each comparison with its numbers, and what is missing', async () => {
  const view = await canary()
  const text = printed(false, (cli) => showCanaries(cli, [view], true))
  expect(text).toContain('late-flight  late-flight@3 against late-flight@2  release-2 canary')
  expect(text).toMatch(/canary 1 +10% +running +1m 30s of 10m +42 +100 +380, 1 failed/)
  expect(text).toMatch(/canary 2 +50% +waiting/)
  expect(text).toContain('goes on: soaking: 90 s of 10 min, 42 requests')
  expect(text).toMatch(/errors +open +0 +e 0\.9 of 400 +1 +42 \/ 380/)
  expect(text).toContain('still to come: soaking')
})

it('as JSON is the object for one endpoint, a list for all', async () => {
  const view = await canary()
  expect(JSON.parse(printed(true, (cli) => showCanaries(cli, [view], true)))).toEqual(view)
  expect(JSON.parse(printed(true, (cli) => showCanaries(cli, [view], false)))).toEqual([view])
  expect(JSON.parse(printed(true, (cli) => showCanaries(cli, [], false)))).toEqual([])
})

it('shown again and again as JSON is one line each time', async () => {
  const view = await canary()
  const text = printed(true, (cli) => showCanaries(cli, [view], true, true))
  expect(text.split('\n')).toEqual([JSON.stringify(view), ''])
})

it('lets no control character of a reason reach the terminal', async () => {
  const view = await canary()
  const forged = { ...view, look: { ...view.look!, why: 'fine\u001b[2Jand well' } }
  expect(printed(false, (cli) => showCanaries(cli, [forged], true))).not.toContain('\u001b')
})

it('says how to go on with what is tried, and how to end what is held', () => {
  expect(nextForTried({ endpoint: 'm', status: 'canary' })).toEqual(['  millrace canary m --watch'])
  expect(nextForTried({ endpoint: 'm', status: 'held' }).join('\n')).toMatch(/--promote --why[^]*--stop --why/)
})
