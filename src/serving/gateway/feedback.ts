import { parsePredictionId } from '../../kernel/contract/prediction-id.ts'
import { LABEL_ROW_MAX, type LabelRecord } from '../../kernel/contract/prediction.ts'
import { messageOf } from '../../kernel/errors.ts'
import { errorAnswer, jsonAnswer, retryAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { PredictionLog } from './prediction-log.ts'

export const FEEDBACK_LIMIT_BYTES = 4 * 1024 * 1024
export const LABELS_MAX = 10_000
/** Of their `at`: the lake keeps a file for each. */
export const LABEL_DAYS_MAX = 100
const LABEL_TEXT_MAX = 1_024
const DAY_MS = 86_400_000
/** So far clocks and time zones of clients may be ahead. */
const AHEAD_MS = DAY_MS

export type Labels = { kind: 'labels'; labels: LabelRecord[] } | { kind: 'malformed'; why: string }

/**
 * Labels as clients send them: one object, an array of them, or `{ "labels": […] }`.
 * A label is `{ "id": "<prediction id>", "label": 1, "row"?: 0, "at"?: "2001-02-03T04:05:06Z" }`.
 * @param nowMs - calendar time, for labels that name none
 * @param latestMs - of labels that name one: the latest counts, so one of a far future could never be corrected
 */
export function parseLabels(body: Buffer, nowMs: number, latestMs = nowMs + AHEAD_MS): Labels {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch (error) {
    return { kind: 'malformed', why: `The body is not JSON: ${messageOf(error)}.` }
  }
  const list = isFields(value) && 'labels' in value ? value['labels'] : value
  const single = isFields(list)
  const items: unknown[] | null = single ? [list] : Array.isArray(list) ? list : null
  if (items === null || items.length === 0)
    return { kind: 'malformed', why: `Send a label, or a list of them in 'labels'.` }
  if (items.length > LABELS_MAX)
    return { kind: 'malformed', why: `At most ${LABELS_MAX} labels at once, not ${items.length}.` }
  return parseAll(items, single, { nowMs, latestMs })
}

interface Times {
  nowMs: number
  latestMs: number
}

function parseAll(items: unknown[], single: boolean, times: Times): Labels {
  const labels: LabelRecord[] = []
  for (const [index, item] of items.entries()) {
    const label = parseLabel(item, times)
    if (typeof label === 'string') return { kind: 'malformed', why: single ? label : `labels[${index}]: ${label}` }
    labels.push(label)
  }
  const days = new Set(labels.map(({ atMs }) => Math.floor(atMs / DAY_MS))).size
  if (days > LABEL_DAYS_MAX)
    return {
      kind: 'malformed',
      why: `Labels of at most ${LABEL_DAYS_MAX} days at once, not of ${days}: send them in parts.`,
    }
  return { kind: 'labels', labels }
}

/** @returns what is wrong, naming the field, as text */
function parseLabel(item: unknown, { nowMs, latestMs }: Times): LabelRecord | string {
  if (!isFields(item)) return 'a label must be an object with id and label.'
  const { id, label, row = 0, at = null } = item
  if (typeof id !== 'string' || parsePredictionId(id) === null) {
    return `'id' must be a prediction id as in the header millrace-prediction-id, not ${shown(id)}.`
  }
  if (!isLabel(label))
    return `'label' must be a number, true, false or text of up to ${LABEL_TEXT_MAX} characters, not ${shown(label)}.`
  if (!Number.isSafeInteger(row) || (row as number) < 0 || (row as number) > LABEL_ROW_MAX)
    return `'row' must be a row number from 0, not ${shown(row)}.`
  const atMs = at === null ? nowMs : parseTime(at)
  if (atMs === null) return `'at' must be an ISO 8601 time such as "2001-02-03T04:05:06Z", not ${shown(at)}.`
  if (atMs > latestMs) return `'at' must not lie more than a day ahead of the server's clock, as ${shown(at)} does.`
  return { kind: 'label', predictionId: id, row: row as number, label, atMs }
}

function isLabel(value: unknown): value is LabelRecord['label'] {
  if (typeof value === 'string') return value.length <= LABEL_TEXT_MAX
  return typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
}

const ISO_TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/

/** Dates alone are midnight UTC; times need a zone, since a server's local time means nothing to a client. */
function parseTime(at: unknown): number | null {
  if (typeof at !== 'string' || !ISO_TIME.test(at)) return null
  const ms = Date.parse(at)
  return Number.isNaN(ms) || ms < 0 ? null : ms
}

function shown(value: unknown): string {
  // JSON has numbers that no double holds, and no word for what they become.
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing')
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * POST /feedback: all labels or none, answered once they are on disk.
 * A label whose prediction is unknown is accepted too: it may be in the log of another gateway, or come later.
 */
export async function acceptLabels(log: PredictionLog, body: Buffer, nowMs: number): Promise<Answer> {
  // A calendar that is rehearsed may lie in the past; labels of the real day are no mistake then.
  const parsed = parseLabels(body, nowMs, Math.max(nowMs, Date.now()) + AHEAD_MS)
  if (parsed.kind === 'malformed') return errorAnswer(400, parsed.why)
  const kept = await Promise.allSettled(parsed.labels.map((label) => log.append(label, 'durable')))
  for (const one of kept) {
    // Some may be on disk: sending them again changes nothing, as the same label counts once.
    if (one.status === 'rejected') return retryAnswer(`No label was accepted: ${messageOf(one.reason)}`)
    if (one.value === 'dropped') return retryAnswer('No label was accepted: the log dropped one.')
  }
  return jsonAnswer(202, { accepted: parsed.labels.length })
}
