import { serveModule } from '../serving/gateway/gather/module-thread.ts'

/** The thread in which a gateway runs a user's combining module. */
await serveModule()
