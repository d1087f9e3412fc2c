import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { EndpointView } from '../../surface/api/endpoint-schemas.ts'
import type { FakeWorld } from './world.ts'

export const fakeEndpointHandlers = (world: FakeWorld): HandlerGroup<'endpoints'> => ({
  list: () => [fakeEndpoint],
  disable: (input) => {
    world.did('endpoints.disable', input)
    return { ...fakeEndpoint, state: 'disabled', why: `disabled by ${input.by}: ${input.why}` }
  },
  enable: (input) => (world.did('endpoints.enable', input), fakeEndpoint),
  join: (input) => (world.did('endpoints.join', input), fakeEndpoint),
})

export const fakeEndpoint: EndpointView = {
  name: 'late-flight',
  model: 'late-flight',
  url: 'http://127.0.0.1:7080/v2/models/late-flight/infer',
  port: 7080,
  grpcPort: 7081,
  logMode: 'durable',
  state: 'serving',
  why: null,
  members: [
    { version: 'late-flight@2', deployment: 'deployment-2', weightPercent: 100, replicasReady: 2, replicasWanted: 2 },
  ],
  requests: 1_204,
  failed: 0,
  gather: null,
}
