import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { defineApply } from './apply.ts'
import { defineApprove } from './approve.ts'
import { defineDown } from './down.ts'
import { defineEvents } from './events.ts'
import { defineFeedback } from './feedback.ts'
import { defineGate } from './gate.ts'
import { defineImport } from './import.ts'
import { defineInit } from './init.ts'
import { defineLake } from './lake.ts'
import { defineLogs } from './logs.ts'
import { defineModels } from './models.ts'
import { defineOpen } from './open.ts'
import { definePredict } from './predict.ts'
import { defineReject } from './reject.ts'
import { defineRelease } from './release.ts'
import { defineReleases } from './releases.ts'
import { defineRollback } from './rollback.ts'
import { defineRuns } from './runs.ts'
import { defineServe } from './serve.ts'
import { defineStatus } from './status.ts'
import { defineTrain } from './train.ts'
import { defineUp } from './up.ts'
import { defineValidate } from './validate.ts'

/** In the order of the help. Each adds its options to the program; what it does is loaded when it runs. */
export const commands: ((program: Command, cli: Cli) => void)[] = [
  defineInit,
  defineValidate,
  defineUp,
  defineDown,
  defineStatus,
  defineApply,
  defineTrain,
  defineRuns,
  defineLogs,
  defineModels,
  defineGate,
  defineApprove,
  defineReject,
  defineRelease,
  defineReleases,
  defineRollback,
  defineImport,
  definePredict,
  defineFeedback,
  defineLake,
  defineEvents,
  defineServe,
  defineOpen,
]
