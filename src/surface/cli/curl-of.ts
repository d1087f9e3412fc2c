import { callerSignature } from '../../kernel/model/signature.ts'
import type { Signature, TensorSpec } from '../../kernel/model/signature.ts'

/** A request that the endpoint answers: one row of zeros (empty text, false), to be filled with something real. */
export function curlOf(url: string, signature: Signature): string {
  const inputs = callerSignature(signature).inputs.map(({ name, datatype, shape }) => {
    const oneRow = shape.map((size) => (size < 0 ? 1 : size))
    const count = oneRow.reduce((a, b) => a * b, 1)
    return { name, datatype, shape: oneRow, data: Array.from({ length: count }, () => zeroOf(datatype)) }
  })
  return `curl -s ${url} -d ${shellQuoted(JSON.stringify({ inputs }))}`
}

function zeroOf(datatype: TensorSpec['datatype']): number | string | boolean {
  if (datatype === 'BYTES') return ''
  return datatype === 'BOOL' ? false : 0
}

const shellQuoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
