import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Log } from '../../kernel/log.ts'
import type { Store } from '../../kernel/store/store.ts'
import { alertRequestOf } from '../../testing/control-builders.ts'
import { controlLab, until, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import { raiseAlert, resolveAlert, silenceAlert, type AlertRequest } from './alert-requests.ts'
import { ATTEMPTS_MAX, targetOf, type AlertMessage, type Webhook } from './notification.ts'
import { NotificationController } from './notification-controller.ts'
import { sendWebhook } from './send-webhook.ts'

interface Receiver {
  url: string
  messages: AlertMessage[]
  authorizations: string[]
  /** What it answers; null: nothing, ever. */
  status: number | null
  close(): void
}

let store: Store
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())

let lab: ControlLab
let clock: FakeClock
let controller: NotificationController
let receivers: Receiver[]
let logged: string[]

beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  receivers = []
  logged = []
  const write = (facts: unknown, text: string) => void logged.push(JSON.stringify([facts, text]))
  lab.context.log = { ...lab.context.log, error: write, warn: write } as unknown as Log
  controller = new NotificationController(lab.context, sendWebhook)
})
afterEach(() => {
  for (const receiver of receivers) receiver.close()
  lab.close()
})

async function receiver(status: number | null, headers: Record<string, string> = {}): Promise<Receiver> {
  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      made.messages.push(JSON.parse(body) as AlertMessage)
      if (request.headers.authorization !== undefined) made.authorizations.push(request.headers.authorization)
      if (made.status !== null) response.writeHead(made.status, headers).end('thanks')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const made: Receiver = {
    url: `http://127.0.0.1:${port}/services/T0/very-secret?token=abc`,
    messages: [],
    authorizations: [],
    status,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
  receivers.push(made)
  return made
}

async function declare(...webhooks: (Partial<Webhook> & { url: string })[]): Promise<void> {
  await lab.apply({ m: { train: 'true' } })
  const filled = webhooks.map((webhook) => ({ minSeverity: 'info' as const, timeoutMs: 10_000, ...webhook }))
  lab.context.project()!.project.alerts = { webhooks: filled }
}

const requestOf = (overrides: Partial<AlertRequest> = {}) =>
  alertRequestOf({ runbook: 'https://example.com/drift', ...overrides })
const raise = (overrides?: Partial<AlertRequest>) =>
  store.transaction((tx) => raiseAlert(tx, clock, requestOf(overrides)))
const resolve = () => store.transaction((tx) => resolveAlert(tx, clock, { ...requestOf(), why: 'PSI 0.1' }))
const rows = () => store.db.selectFrom('notification').selectAll().orderBy('seq').execute()

async function turn(times = 1): Promise<void> {
  for (let i = 0; i < times; i++) {
    await controller.look()
    await controller.idle()
  }
}

describe('telling webhooks about alerts', () => {
  it('says each thing once: that it fires, and that it is over', async () => {
    const hook = await receiver(200)
    await declare({ url: hook.url })
    const id = await raise()
    await turn(3)
    await raise({ why: 'PSI 0.5 over 0.25' })
    await turn(2)
    expect(hook.messages).toMatchObject([
      {
        schema: 'millrace.alert/1',
        id: `${id}/firing`,
        about: 'firing',
        project: 'test',
        alert: { id, status: 'firing', model: 'm', source: 'drift', subject: 'distance', figures: { psi: 0.4 } },
      },
    ])
    await resolve()
    await turn(3)
    expect(hook.messages.map((message) => message.id)).toEqual([`${id}/firing`, `${id}/resolved`])
    expect(await rows()).toMatchObject([{ status: 'sent' }, { status: 'sent' }])
  })

  it('says that it is over of more alerts than one look takes', async () => {
    const hook = await receiver(200)
    await declare({ url: hook.url })
    const { runbook, response, why, model, endpoint, source, severity } = requestOf()
    const about = { runbook, response, why, model, endpoint, source, severity, figures: '{}', version_id: 'm@1' }
    const times = { opened_at_ms: 0, opened_calendar_ms: 0, resolved_at_ms: 1 }
    const over = Array.from({ length: 205 }, (_, i) => ({ subject: `${i}`, alarm_seq: i + 1 }))
    const ids = await store.db
      .insertInto('alert')
      .values(over.map((one) => ({ ...about, ...times, ...one, status: 'resolved' })))
      .returning('id')
      .execute()
    const sent = { about: 'firing', target: targetOf(hook.url), status: 'sent', attempts: 1, next_at_ms: 0 }
    await store.db
      .insertInto('notification')
      .values(ids.map(({ id }) => ({ alert_id: id, ...sent, created_at_ms: 0 })))
      .execute()
    await turn(2)
    const told = await store.db.selectFrom('notification').select('seq').where('about', '=', 'resolved').execute()
    expect(told).toHaveLength(205)
  })

  it('is not delayed by a receiver that hangs, and gives that one up in the end', async () => {
    const [hanging, well] = [await receiver(null), await receiver(204)]
    await declare({ url: hanging.url, timeoutMs: 100 }, { url: well.url })
    await raise()
    await controller.look()
    await until('the other one is told', () => well.messages.length === 1, 5_000)
    for (let i = 0; i < 2 * ATTEMPTS_MAX; i++) {
      await turn()
      clock.advance(200_000)
    }
    expect(well.messages).toHaveLength(1)
    expect(await rows()).toMatchObject([
      { status: 'failed', attempts: ATTEMPTS_MAX, why: 'no answer within 100 ms' },
      { status: 'sent' },
    ])
    expect(logged.at(-1)).toContain('was not told')
  })

  it('tells of what comes now, however much is silenced or waits for a receiver that hangs', async () => {
    const [hangs, works] = [await receiver(null), await receiver(200)]
    await declare({ url: hangs.url }, { url: works.url })
    const old = await raise({ subject: 'old' })
    await store.transaction((tx) =>
      silenceAlert(tx, clock, { alertId: old, forMs: 86_400_000, by: 'ann', why: 'known' }),
    )
    await sql`
      insert into alert (model, endpoint, version_id, source, subject, severity, status, why, figures, response, opened_at_ms,
        opened_calendar_ms, alarm_seq, fired_at_ms, fired_calendar_ms, silenced_until_ms)
      select model, endpoint, version_id, source, 'old ' || n, severity, status, why, figures, response, opened_at_ms,
        opened_calendar_ms, -n, fired_at_ms, fired_calendar_ms, silenced_until_ms
      from alert, generate_series(1, 600) n`.execute(store.db)
    const targets = [hangs, works].map(({ url }) => targetOf(url))
    await sql`
      insert into notification (alert_id, about, target, status, attempts, next_at_ms, created_at_ms)
      select id, 'firing', target, 'waiting', 0, 0, 0
      from alert, unnest(array[${sql.join(targets)}]) target`.execute(store.db)
    await raise({ subject: 'new' })
    await controller.look()
    await until('the new alarm was told', () => works.messages.length > 0)
    expect(works.messages.map((message) => message.alert.subject)).toEqual(['new'])
    expect((await rows()).filter((row) => row.target === targets[1] && row.attempts > 0)).toHaveLength(1)
    for (const one of receivers) one.close()
    await controller.idle()
  })

  it('tries again more and more slowly after a 500', async () => {
    const hook = await receiver(500)
    await declare({ url: hook.url })
    await raise()
    await turn(5)
    expect(hook.messages).toHaveLength(1)
    clock.advance(1_000)
    await turn(5)
    expect(hook.messages).toHaveLength(2)
    clock.advance(1_000)
    await turn(5)
    expect(hook.messages).toHaveLength(2)
    hook.status = 200
    clock.advance(4_000)
    await turn()
    expect(await rows()).toMatchObject([{ status: 'sent', attempts: 3 }])
  })

  it('follows no redirect and tries no refusal again', async () => {
    const elsewhere = await receiver(200)
    const hook = await receiver(302, { location: elsewhere.url })
    const refusing = await receiver(404)
    await declare({ url: hook.url }, { url: refusing.url })
    await raise()
    await turn()
    clock.advance(200_000)
    await turn(2)
    expect([hook.messages.length, refusing.messages.length, elsewhere.messages.length]).toEqual([1, 1, 0])
    expect((await rows()).map((row) => row.why)).toEqual([
      'it redirects (302), which is not followed',
      'it answered 404',
    ])
  })

  it('sends to http and https alone', async () => {
    await declare({ url: 'file:///etc/passwd' }, { url: 'not an address' })
    await raise()
    await turn()
    expect((await rows()).map((row) => [row.status, row.why])).toEqual([
      ['failed', 'it is no http or https address'],
      ['failed', 'it is no http or https address'],
    ])
  })

  it('tries again when nobody listens', async () => {
    const hook = await receiver(200)
    await declare({ url: hook.url })
    hook.close()
    await raise()
    await turn()
    expect(await rows()).toMatchObject([{ status: 'waiting', attempts: 1, why: 'ECONNREFUSED' }])
  })

  it('says nothing while an alert is silenced, and then what still fires', async () => {
    const hook = await receiver(200)
    await declare({ url: hook.url })
    const alertId = await raise()
    await store.transaction((tx) => silenceAlert(tx, clock, { alertId, forMs: 60_000, by: 'ada', why: 'known' }))
    await turn(2)
    expect(hook.messages).toEqual([])
    clock.advance(60_000)
    await turn(2)
    expect(hook.messages).toHaveLength(1)
  })

  it('leaves out what is below the severity, and what resolved before it was told', async () => {
    const hook = await receiver(200)
    await declare({ url: hook.url, minSeverity: 'critical' })
    await raise()
    await turn()
    await resolve()
    await turn()
    expect(hook.messages).toEqual([])
    await raise({ severity: 'critical' })
    await turn()
    expect(hook.messages).toHaveLength(1)
  })

  it('keeps the address out of rows and logs', async () => {
    const hook = await receiver(500)
    await declare({ url: hook.url })
    await raise()
    for (let i = 0; i < ATTEMPTS_MAX; i++) {
      await turn()
      clock.advance(200_000)
    }
    const told = JSON.stringify(await rows()) + logged.join('')
    expect(told).not.toContain('secret')
    expect(told).not.toContain('token')
    expect(told).toContain(targetOf(hook.url))
    expect(targetOf(hook.url)).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/… \([0-9a-f]{8}\)$/)
  })

  it('sends the name and password of an address in a header, and keeps them out of rows and logs', async () => {
    const hook = await receiver(500)
    await declare({ url: hook.url.replace('http://', 'http://mill%40race:hunter%202@') })
    await raise()
    await turn()
    hook.status = 200
    clock.advance(1_000)
    await turn()
    expect(hook.authorizations).toEqual([1, 2].map(() => `Basic ${btoa('mill@race:hunter 2')}`))
    const told = JSON.stringify(await rows()) + logged.join('')
    expect(told).toContain('"status":"sent"')
    expect(told).not.toContain('hunter')
  })

  it('does not try for ever what kills it: attempts are counted before they are made', async () => {
    const hook = await receiver(200)
    await declare({ url: hook.url })
    await raise()
    let begun = 0
    const dying = new NotificationController(lab.context, () => {
      begun++
      return new Promise(() => {})
    })
    await dying.look()
    expect(begun).toBe(1)
    await turn()
    expect(hook.messages).toEqual([])
    clock.advance(12_000)
    await turn()
    expect(await rows()).toMatchObject([{ status: 'sent', attempts: 2 }])
  })
})
