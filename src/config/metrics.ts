import type { LossName } from './project.ts'
import type { Task } from '../kernel/model/signature.ts'

/** Metrics that a gate can bound, by task, with the values each can take. */
export const metricsOf: Record<Task, Record<string, { lowest: number; highest: number }>> = {
  binary: {
    auc: { lowest: 0, highest: 1 },
    logLoss: { lowest: 0, highest: Infinity },
    brier: { lowest: 0, highest: 1 },
    accuracy: { lowest: 0, highest: 1 },
    precision: { lowest: 0, highest: 1 },
    recall: { lowest: 0, highest: 1 },
    f1: { lowest: 0, highest: 1 },
    ece: { lowest: 0, highest: 1 },
    calibration: { lowest: 0, highest: Infinity },
  },
  regression: {
    rmse: { lowest: 0, highest: Infinity },
    mae: { lowest: 0, highest: Infinity },
    mape: { lowest: 0, highest: Infinity },
    r2: { lowest: -Infinity, highest: 1 },
  },
}

export const lossesOf: Record<Task, readonly LossName[]> = {
  binary: ['logLoss', 'brier'],
  regression: ['squaredError', 'absoluteError'],
}

/**
 * How much worse a challenger may be where the user did not say. Squared and absolute errors have the unit of the label,
 * so that no number fits all: there a margin must be declared.
 */
export const defaultMargin: Partial<Record<LossName, number>> = { logLoss: 0.005, brier: 0.002 }

/** Rise of the mean loss over the evaluation's that the quality monitor takes for a change where the user did not say. */
export const defaultQuality: Partial<Record<LossName, number>> = { logLoss: 0.05, brier: 0.02 }
