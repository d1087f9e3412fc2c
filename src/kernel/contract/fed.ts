import type { Signature } from '../model/signature.ts'

/**
 * How a model server tells a gateway what it fed the model, where tables gave some of it or a step prepared it: the gateway asks by a header of
 * its request, and gets a second body behind that of the answer, with the length of it and of its JSON in a header.
 *
 *   request : millrace-feed: 1
 *   answer  : millrace-fed: <bytes>,<JSON bytes>          body = answer | fed
 */
export const FEED_HEADER = 'millrace-feed'
export const FED_HEADER = 'millrace-fed'

/** Whether a model is fed something else than what callers send. */
export const isFedOther = ({ enriched, prepared }: Signature): boolean =>
  enriched !== undefined || prepared !== undefined

export interface FedBody {
  /** A request of the same protocol, with every input of the model. */
  body: Buffer
  /** As of any body: null, where it is all JSON. */
  jsonBytes: number | null
}

export function fedHeader({ body, jsonBytes }: FedBody): string {
  return `${body.length},${jsonBytes ?? -1}`
}

/** @returns where the answer ends, and what follows; null where the header does not say so */
export function splitFed(body: Buffer, header: string): { answer: Buffer; fed: FedBody } | null {
  const [bytes, json] = /^(\d+),(-?\d+)$/.exec(header)?.slice(1).map(Number) ?? []
  if (bytes === undefined || json === undefined || bytes > body.length || json > bytes) return null
  const at = body.length - bytes
  return { answer: body.subarray(0, at), fed: { body: body.subarray(at), jsonBytes: json < 0 ? null : json } }
}
