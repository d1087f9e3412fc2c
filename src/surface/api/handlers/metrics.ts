import type { HandlerGroup } from '../handlers.ts'
import type { Services } from './services.ts'

export const CONTROL_PLANE = 'control-plane'

export const metricsHandlers = ({ metrics }: Pick<Services, 'metrics'>): HandlerGroup<'metrics'> => ({
  async get({ process = CONTROL_PLANE }) {
    return { process, text: await metrics(process === CONTROL_PLANE ? null : process) }
  },
})
