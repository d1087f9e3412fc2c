import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { Reconciliation } from '../../surface/api/prediction-log-schemas.ts'

export const fakePredictionLogHandlers = (): HandlerGroup<'predictionLog'> => ({
  status: () => fakeReconciliation,
  query: ({ sql, limit }) => ({
    columns: [
      { name: 'hour', type: 'INTEGER' },
      { name: 'n', type: 'BIGINT' },
    ],
    rows: [
      [8, 120],
      [9, null],
    ].slice(0, limit),
    truncated: limit < 2,
    manifest: sql.length,
    elapsedMs: 12,
  }),
})

export const fakeReconciliation: Reconciliation = {
  answered: 1_204,
  logged: 1_204,
  sampledOut: 0,
  dropped: 0,
  inLake: 1_200,
  inSpool: 4,
  labels: 800,
  labelsMatched: 799,
  labelsUnmatched: 1,
  lagMs: 900,
  manifest: 12,
  agrees: true,
  why: null,
}
