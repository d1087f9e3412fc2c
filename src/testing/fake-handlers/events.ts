import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { EventView } from '../../surface/api/event-schemas.ts'
import { T0 } from './world.ts'

export const fakeEventHandlers = (): HandlerGroup<'events'> => ({
  list: ({ afterSeq = 0 }) => fakeEvents.filter((e) => e.seq > afterSeq),
  watch: async function* (_input, { signal }): AsyncGenerator<EventView> {
    for (const event of fakeEvents) {
      if (signal.aborted) return
      yield event
    }
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  },
})

const fakeEvents: EventView[] = [
  {
    seq: 1,
    entity: 'run',
    entityId: 'run-2',
    from: null,
    to: 'queued',
    cause: 'manual: by hand',
    atMs: T0,
    calendarMs: T0,
    detail: { model: 'late-flight' },
  },
  {
    seq: 2,
    entity: 'run',
    entityId: 'run-2',
    from: 'queued',
    to: 'running',
    cause: 'its turn',
    atMs: T0,
    calendarMs: T0,
    detail: null,
  },
]
