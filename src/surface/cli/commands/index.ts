import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { defineAck } from './ack.ts'
import { defineAlerts } from './alerts.ts'
import { defineApply } from './apply.ts'
import { defineApprove } from './approve.ts'
import { defineBackfill } from './backfill.ts'
import { defineCallers } from './callers.ts'
import { defineCanary } from './canary.ts'
import { defineDisable } from './disable.ts'
import { defineDown } from './down.ts'
import { defineEnable } from './enable.ts'
import { defineEndpoints } from './endpoints.ts'
import { defineEvents } from './events.ts'
import { defineFeedback } from './feedback.ts'
import { defineFreeze } from './freeze.ts'
import { defineGate } from './gate.ts'
import { defineImport } from './import.ts'
import { defineInit } from './init.ts'
import { defineJoin } from './join.ts'
import { defineKeep } from './keep.ts'
import { defineLake } from './lake.ts'
import { defineLogs } from './logs.ts'
import { defineMetrics } from './metrics.ts'
import { defineModels } from './models.ts'
import { defineMonitors } from './monitors.ts'
import { defineOpen } from './open.ts'
import { definePause } from './pause.ts'
import { definePin } from './pin.ts'
import { definePredict } from './predict.ts'
import { defineReject } from './reject.ts'
import { defineRelease } from './release.ts'
import { defineReleases } from './releases.ts'
import { defineRetire } from './retire.ts'
import { defineRetirement } from './retirement.ts'
import { defineRevive } from './revive.ts'
import { defineResume } from './resume.ts'
import { defineRollback } from './rollback.ts'
import { defineRuns } from './runs.ts'
import { defineServe } from './serve.ts'
import { defineSilence } from './silence.ts'
import { defineSlo } from './slo.ts'
import { defineStatus } from './status.ts'
import { defineTrain } from './train.ts'
import { defineTriggers } from './triggers.ts'
import { defineUnfreeze } from './unfreeze.ts'
import { defineUnpin } from './unpin.ts'
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
  defineTriggers,
  definePause,
  defineResume,
  defineBackfill,
  defineLogs,
  defineModels,
  defineGate,
  defineApprove,
  defineReject,
  defineRelease,
  defineReleases,
  defineCanary,
  defineEndpoints,
  defineJoin,
  defineRollback,
  defineFreeze,
  defineUnfreeze,
  defineDisable,
  defineEnable,
  defineCallers,
  definePin,
  defineUnpin,
  defineRetirement,
  defineRetire,
  defineRevive,
  defineKeep,
  defineImport,
  definePredict,
  defineFeedback,
  defineMonitors,
  defineAlerts,
  defineAck,
  defineSilence,
  defineSlo,
  defineMetrics,
  defineLake,
  defineEvents,
  defineServe,
  defineOpen,
]
