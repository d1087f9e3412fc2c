import { serveRuns } from '../serving/model-server/run-child.ts'

/** The process of one heavy model, started by a model server: see run-process.ts there. */
serveRuns()
