import { expect, it } from 'vitest'

import { inOrder } from './metric-order.ts'

it('shows the loss first, what is unknown last, and no number of rows', () => {
  const shown = inOrder({ n: 800, f1: 0.2, auc: 0.78, mine: 1, logLoss: 0.4 })
  expect(Object.keys(shown)).toEqual(['logLoss', 'auc', 'f1', 'mine'])
})
