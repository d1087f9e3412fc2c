import type { Answer } from './answer.ts'

/** A longer error is none of ours, and is shown from its beginning. */
const READ_BYTES_MAX = 16_384

/** What an answer says of its error: `{"error": text}`, or, where somebody else's server words it otherwise, its body. */
export function errorTextOf({ body }: Pick<Answer, 'body'>, lettersMax: number): string {
  let text = body.toString('utf8', 0, READ_BYTES_MAX)
  try {
    const { error } = JSON.parse(text) as { error?: unknown }
    if (typeof error === 'string') text = error
  } catch {
    // It is no JSON: as it stands.
  }
  return text.trim().slice(0, lettersMax)
}

/** A path in quotes may hold spaces; without, it ends with them. Addresses on the web are left alone. */
const QUOTED_FOLDERS = /(['"])\/(?:[^'"/\n]+\/)+(?=[^'"/\n]*\1)/g
const FOLDERS = /(?<![\w:./])\/(?:[^\s'":,;()/]+\/)+/g

/** For clients, whom it does not concern where files lie: `/data/a/model.onnx is damaged` ─▶ `model.onnx is damaged`. */
export function withoutFolders(text: string): string {
  return text.replace(QUOTED_FOLDERS, '$1').replace(FOLDERS, '')
}
