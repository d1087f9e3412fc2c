import type { OpenParser, ParsedHead, ParserLimits, Refusal } from '../serving/front/http/parser.ts'

/** What a parser made of a stream of bytes. */
export interface ParserRecord {
  requests: RecordedRequest[]
  refusal: Refusal | null
  /** Where it stands at the end. */
  place: string
}

export interface RecordedRequest {
  method: string
  target: string
  headers: [string, string | undefined][]
  body: string
  keepAlive: boolean
  expectsContinue: boolean
}

export const parserLimits: ParserLimits = { headBytes: 16 * 1024, headers: 100 }

/**
 * @param cuts - where the bytes are cut into parts, ascending
 * @param held - asks the parser to wait after each request, until all that follows was pushed
 */
export function recordParser(
  open: OpenParser,
  bytes: Buffer,
  { cuts = [], held = false, limits = parserLimits }: { cuts?: number[]; held?: boolean; limits?: ParserLimits } = {},
): ParserRecord {
  const record: ParserRecord = { requests: [], refusal: null, place: '' }
  let head: ParsedHead | null = null
  let body: Buffer[] = []
  let isHeld = false
  const parser = open(limits, {
    onHead(parsed) {
      head = parsed
      body = []
    },
    onBody: (part) => void body.push(Buffer.from(part)),
    onEnd() {
      record.requests.push(recorded(head as ParsedHead, Buffer.concat(body)))
      isHeld = held
      return held ? 'hold' : 'go on'
    },
    onRefusal: (refusal) => void (record.refusal = refusal),
  })
  let from = 0
  for (const cut of [...cuts, bytes.length]) {
    // A copy: what the parser keeps must not depend on the memory around it.
    if (cut > from) parser.push(Buffer.from(bytes.subarray(from, cut)))
    from = cut
  }
  while (isHeld) {
    isHeld = false
    parser.resume()
  }
  record.place = parser.place
  parser.close()
  return record
}

function recorded({ method, target, headers, keepAlive, expectsContinue }: ParsedHead, body: Buffer): RecordedRequest {
  return { method, target, headers: Object.entries(headers), body: body.toString('latin1'), keepAlive, expectsContinue }
}

/** One line a request, `METHOD target body` with ` (close)` where it is the last, and the status of a refusal. */
export function summaryOf({ requests, refusal }: ParserRecord): (string | number)[] {
  const lines = requests.map(({ method, target, body, keepAlive }) =>
    [method, target, ...(body === '' ? [] : [body]), ...(keepAlive ? [] : ['(close)'])].join(' '),
  )
  return refusal === null ? lines : [...lines, refusal.status]
}
