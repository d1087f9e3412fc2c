import { OpenAPIGenerator, type OpenAPI } from '@orpc/openapi'
import { ZodToJsonSchemaConverter } from '@orpc/zod/zod4'
import { z } from 'zod'

import { contract } from './contract.ts'
import { errorSchema } from './error-schemas.ts'

export const REST_PREFIX = '/api/v1'

/** The OpenAPI 3.1 document of the REST face of the contract. */
export async function openApiDocument(version: string, serverUrl: string): Promise<OpenAPI.Document> {
  const generator = new OpenAPIGenerator({ schemaConverters: [new ZodToJsonSchemaConverter()] })
  const errorBody = z.toJSONSchema(errorSchema) as OpenAPI.SchemaObject
  return generator.generate(contract, {
    info: {
      title: 'Millrace control API',
      version,
      description:
        'Everything that the CLI does. Over TCP each call needs `Authorization: Bearer <token>`; the unix socket of the data directory needs none.',
    },
    servers: [{ url: `${serverUrl}${REST_PREFIX}` }],
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }],
    customErrorResponseBodySchema: () => errorBody as never,
  })
}
