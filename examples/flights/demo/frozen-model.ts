import { keyFeatures, numberFeatures, fromNames } from '../train/late-flight-model.ts'
import type { FlightFeatures } from './gateway-client.ts'

process.env['ORT_DISABLE_TELEMETRY'] = '1' // read when the runtime is loaded
const { InferenceSession, Tensor } = await import('onnxruntime-node')

const BATCH_ROWS = 4_096

/** What one model file says about flights: how the first version would have answered had it never been replaced. */
export async function scoreWith(modelFile: string, flights: FlightFeatures[]): Promise<number[]> {
  const session = await InferenceSession.create(modelFile, { intraOpNumThreads: 1 })
  const probabilities: number[] = []
  for (let start = 0; start < flights.length; start += BATCH_ROWS) {
    const batch = flights.slice(start, start + BATCH_ROWS)
    const shape = [batch.length, 1]
    const column = (name: keyof FlightFeatures) => batch.map((flight) => flight[name])
    const outputs = await session.run({
      ...fromNames(keyFeatures, (name) => new Tensor('string', column(name) as string[], shape)),
      ...fromNames(numberFeatures, (name) => new Tensor('float32', Float32Array.from(column(name) as number[]), shape)),
    })
    probabilities.push(...(outputs['late_probability']!.data as Float32Array))
  }
  await session.release()
  return probabilities
}
