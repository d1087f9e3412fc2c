/**
 * The JSON of an answer with the model's name and version at its head, whatever stood there: servers of others give
 * their own names, or none, and clients go by them (KServe's needs `model_name`). Everything else stays byte for byte,
 * digits included, which parsing and writing it again would not keep.
 * @yields every so many bytes of a large one, so that others may have a turn
 * @returns null where it is no JSON object, as far as that shows without reading its values
 */
export function* nameAnswer(
  json: Uint8Array,
  model: string,
  version: string,
): Generator<undefined, Buffer | null, undefined> {
  const members = yield* topLevelMembers(json)
  if (members === null) return null
  const head = Buffer.from(`{"model_name":${JSON.stringify(model)},"model_version":${JSON.stringify(version)}`)
  const kept = members.filter(({ key }) => key !== 'model_name' && key !== 'model_version')
  return Buffer.concat([head, ...kept.flatMap(({ from, to }) => [COMMA, json.subarray(from, to)]), END])
}

const COMMA = Buffer.from(',')
const END = Buffer.from('}')

interface Member {
  /** As it is written, without its quotes. */
  key: string
  from: number
  to: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d] as const
const [COLON, SEPARATOR] = [0x3a, 0x2c] as const

function* topLevelMembers(json: Uint8Array): Generator<undefined, Member[] | null, undefined> {
  const members: Member[] = []
  let at = skipSpace(json, 0)
  if (json[at] !== OPEN_OBJECT) return null
  at = skipSpace(json, at + 1)
  if (json[at] === CLOSE_OBJECT) return isOver(json, at + 1) ? members : null
  for (;;) {
    const from = at
    const keyEnd = json[at] === QUOTE ? endOfString(json, at) : -1
    if (keyEnd < 0) return null
    at = skipSpace(json, keyEnd)
    if (json[at] !== COLON) return null
    const to: number = yield* endOfValue(json, skipSpace(json, at + 1))
    if (to < 0) return null
    members.push({ key: Buffer.from(json.subarray(from + 1, keyEnd - 1)).toString('utf8'), from, to })
    at = skipSpace(json, to)
    if (json[at] === CLOSE_OBJECT) return isOver(json, at + 1) ? members : null
    if (json[at] !== SEPARATOR) return null
    at = skipSpace(json, at + 1)
  }
}

const isSpace = (byte: number | undefined) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

function skipSpace(json: Uint8Array, from: number): number {
  let at = from
  while (isSpace(json[at])) at += 1
  return at
}

const isOver = (json: Uint8Array, from: number) => skipSpace(json, from) === json.length

/** @returns where it goes on behind the closing quote; −1: it does not end */
function endOfString(json: Uint8Array, from: number): number {
  for (let at = from + 1; at < json.length; at += 1) {
    if (json[at] === BACKSLASH) at += 1
    else if (json[at] === QUOTE) return at + 1
  }
  return -1
}

/** @returns −1: there is none, or it does not end */
function* endOfValue(json: Uint8Array, from: number): Generator<undefined, number, undefined> {
  const first = json[from]
  if (first === undefined) return -1
  if (first === QUOTE) return endOfString(json, from)
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return yield* endOfNested(json, from)
  let at = from
  while (at < json.length && !isSpace(json[at]) && json[at] !== SEPARATOR && json[at] !== CLOSE_OBJECT) at += 1
  return at === from ? -1 : at
}

const STEP_BYTES = 1024 * 1024

function* endOfNested(json: Uint8Array, from: number): Generator<undefined, number, undefined> {
  let depth = 0
  let stepAt = from + STEP_BYTES
  for (let at = from; at < json.length; at += 1) {
    if (at >= stepAt) {
      stepAt = at + STEP_BYTES
      yield
    }
    const byte = json[at]
    if (byte === QUOTE) {
      const end = endOfString(json, at)
      if (end < 0) return -1
      at = end - 1
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth += 1
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth -= 1
      if (depth === 0) return at + 1
    }
  }
  return -1
}
