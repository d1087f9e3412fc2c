import type { Spool } from '../prediction-log/spool.ts'

/** What the gateway needs of the prediction log; `prediction-log/spool.ts` is the one on disk. */
export type PredictionLog = Pick<Spool, 'append' | 'countSampledOut' | 'counts' | 'close'>
