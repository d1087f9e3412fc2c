import { describe, expect, it } from 'vitest'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import { fakeLog } from '../../testing/gateway-fakes.ts'
import { LABEL_DAYS_MAX, LABELS_MAX, acceptLabels, parseLabels } from './feedback.ts'

const NOW = Date.UTC(2001, 1, 3)
const id = newPredictionId(NOW)
const send = (log: ReturnType<typeof fakeLog>, value: unknown) =>
  acceptLabels(log, Buffer.from(JSON.stringify(value)), NOW)

describe('labels', () => {
  it.each([
    ['one', { id, label: 1 }, [{ kind: 'label', predictionId: id, row: 0, label: 1, atMs: NOW }]],
    [
      'a list',
      [{ id, label: 'late', row: 2 }],
      [{ kind: 'label', predictionId: id, row: 2, label: 'late', atMs: NOW }],
    ],
    [
      'a list by name',
      { labels: [{ id, label: true, at: '2001-02-01T10:00:00+01:00' }] },
      [{ kind: 'label', predictionId: id, row: 0, label: true, atMs: Date.UTC(2001, 1, 1, 9) }],
    ],
    [
      'a date alone',
      { id, label: 0, at: '2001-02-01' },
      [{ kind: 'label', predictionId: id, row: 0, label: 0, atMs: Date.UTC(2001, 1, 1) }],
    ],
  ])('are read as %s', (_name, value, labels) => {
    expect(parseLabels(Buffer.from(JSON.stringify(value)), NOW)).toEqual({ kind: 'labels', labels })
  })

  it('may be a day ahead, of the calendar or of the real day where a calendar of the past is rehearsed', async () => {
    const at = (ms: number) => Buffer.from(JSON.stringify({ id, label: 1, at: new Date(ms).toISOString() }))
    const dayMs = 86_400_000
    expect(parseLabels(at(NOW + dayMs), NOW).kind).toBe('labels')
    expect(parseLabels(at(NOW + dayMs + 1), NOW).kind).toBe('malformed')
    expect((await acceptLabels(fakeLog(), at(Date.now()), NOW)).status).toBe(202)
    expect((await acceptLabels(fakeLog(), at(Date.now() + 2 * dayMs), NOW)).status).toBe(400)
  })

  it('are accepted once they are on disk', async () => {
    const log = fakeLog()
    const answer = await send(log, [
      { id, label: 1 },
      { id, label: 0, row: 1 },
    ])
    expect([answer.status, answer.body.toString()]).toEqual([202, '{"accepted":2}'])
    expect(log.records.map(({ mode }) => mode)).toEqual(['durable', 'durable'])
  })

  const otherId = `${id.slice(0, 5)}${id[5] === '0' ? '1' : '0'}${id.slice(6)}`
  it.each([
    ['no JSON', '{', 'The body is not JSON'],
    ['an empty list', [], 'Send a label'],
    ['a number', 5, 'Send a label'],
    [
      'a mistyped id',
      { id: otherId, label: 1 },
      `'id' must be a prediction id as in the header millrace-prediction-id, not "${otherId}"`,
    ],
    ['no id', { label: 1 }, `'id' must be a prediction id as in the header millrace-prediction-id, not nothing`],
    ['no label', { id }, `'label' must be a number, true, false or text of up to 1024 characters, not nothing`],
    ['a null label', { id, label: null }, `'label' must be`],
    ['an object as label', { id, label: {} }, `'label' must be`],
    ['a negative row', { id, label: 1, row: -1 }, `'row' must be a row number from 0, not -1`],
    ['half a row', { id, label: 1, row: 0.5 }, `'row' must be`],
    ['a row that no batch has', { id, label: 1, row: 2 ** 31 }, `'row' must be a row number from 0, not 2147483648`],
    [
      'a time that will not come for long',
      { id, label: 1, at: '9999-12-31' },
      `'at' must not lie more than a day ahead of the server's clock, as "9999-12-31" does`,
    ],
    [
      'a number that is none',
      `{"id":"${id}","label":1e999}`,
      `'label' must be a number, true, false or text of up to 1024 characters, not Infinity`,
    ],
    ['a time without zone', { id, label: 1, at: '2001-02-03T04:05:06' }, `'at' must be an ISO 8601 time`],
    ['a day that never was', { id, label: 1, at: '2001-02-33' }, `'at' must be`],
    [
      'a bad one among good ones',
      [
        { id, label: 1 },
        { id, label: 1, row: 'x' },
      ],
      `labels[1]: 'row' must be`,
    ],
    [
      'too many',
      Array.from({ length: LABELS_MAX + 1 }, () => 0),
      `At most ${LABELS_MAX} labels at once, not ${LABELS_MAX + 1}`,
    ],
    [
      'of too many days',
      Array.from({ length: LABEL_DAYS_MAX + 1 }, (_, day) => ({ id, label: 1, at: isoDay(day) })),
      `Labels of at most ${LABEL_DAYS_MAX} days at once, not of ${LABEL_DAYS_MAX + 1}`,
    ],
  ])('are refused with 400 and the field: %s', async (_name, value, why) => {
    const log = fakeLog()
    const body = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
    const answer = await acceptLabels(log, body, NOW)
    expect(answer.status).toBe(400)
    expect((JSON.parse(answer.body.toString()) as { error: string }).error).toContain(why)
    expect(log.records).toEqual([])
  })

  it('are answered with 503 when the log can not take them', async () => {
    const log = fakeLog()
    log.failure = new Error('the disk is full')
    const answer = await send(log, { id, label: 1 })
    expect(answer.status).toBe(503)
    expect(answer.body.toString()).toContain('the disk is full')
  })
})

function isoDay(day: number): string {
  return new Date(NOW - day * 86_400_000).toISOString()
}
