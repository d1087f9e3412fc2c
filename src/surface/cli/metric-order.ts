/** As people look for them: the loss first. The store keeps them by the length of their names. */
const ORDER = [
  'logLoss',
  'auc',
  'brier',
  'ece',
  'accuracy',
  'precision',
  'recall',
  'f1',
  'calibration',
  'rmse',
  'mae',
  'mape',
  'r2',
]

/** Metrics by name, the known ones in that order; the number of rows is said beside them. */
export function inOrder<V>(metrics: Record<string, V>): Record<string, V> {
  const place = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length)
  const named = Object.entries(metrics).filter(([name]) => name !== 'n')
  return Object.fromEntries(named.toSorted(([a], [b]) => place(a) - place(b)))
}
