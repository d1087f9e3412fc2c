/**
 * How a gateway and Millrace's own model server speak on a unix socket of their own: many requests at once on one
 * connection, answers in whatever order they are ready. It costs a fraction of HTTP. All integers little-endian.
 *
 *   connection = preface frame*                 preface: PREFACE, sent by the gateway as its first bytes
 *   frame      = u32 length of what follows | u32 id | u8 kind | …
 *   request  1 : i32 json | u32 timeout | text model | text version | text headers | body
 *   answer   2 : i32 json | u16 status | text headers | body
 *   cancel   3 : the gateway no longer wants the answer of `id`
 *   probe    4 : asks whether it is ready
 *   probed   5 : u8, 1 ready, 0 not
 *   goodbye  6 : the model server drains: no new requests on this connection; what is under way will be answered
 *   text       = u16 length | UTF-8
 *   json       = length of the JSON at the head of the body, −1 where it is all JSON, 0 for a raw request
 *   timeout    = milliseconds that the caller still waits, 0 for no limit
 *   headers    = names in lower case and values in turn, each ended by LF
 *
 * Ids are the gateway's, unique among what is under way on the connection. Each request is answered exactly once, also a
 * cancelled one (503 and nothing else), so that both sides know when an id is free. A frame that can't be read ends the
 * connection: nothing after it can be trusted.
 */
export const PREFACE = Buffer.from('MRFRAME1')

export const FRAME_KIND = { request: 1, answer: 2, cancel: 3, probe: 4, probed: 5, goodbye: 6 } as const

/** Length, id and kind. */
export const FRAME_HEAD_BYTES = 9

/** Anything longer is taken for a damaged length: it is more than the largest body (1 GiB) and its head. */
export const FRAME_BYTES_MAX = 1025 * 1024 * 1024
