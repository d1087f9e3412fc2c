import { z } from 'zod'
import type { Project } from '../../config/project.ts'
import { atMs, by } from './schema-parts.ts'

/* The applied configuration. */

/** The resolved configuration. Its shape is config/project.ts; only what routing a request needs is checked here. */
export const projectSchema = z
  .looseObject({ name: z.string(), root: z.string(), models: z.array(z.looseObject({ name: z.string() })) })
  .describe('The configuration with every default filled in') as unknown as z.ZodType<Project, Project>

export const revisionSchema = z
  .object({
    revision: z.number().int().positive().describe('Counts from 1 within the installation'),
    project: z.string().describe('Name of the project'),
    digest: z.string().describe('Digest of the resolved configuration; applying the same again makes no new revision'),
    sourcePath: z.string().nullable().describe('The file it was read from'),
    by,
    appliedAtMs: atMs('When it was applied'),
    models: z.array(z.string()).describe('Names of the models it declares'),
    changes: z.array(z.string()).describe('What it changed, one line each; empty when nothing did'),
  })
  .describe('One applied configuration; immutable')

export type Revision = z.infer<typeof revisionSchema>
