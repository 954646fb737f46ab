/**
 * Messages as Envoy has them, not only with the fields that meshlet knows: for files of resources. What a person writes
 * is checked against the names that Envoy has, and goes into bytes whole: an Envoy that the hub serves needs what meshlet
 * does not act upon. Takes megabytes once it is asked for.
 */
import { createFileRegistry, createRegistry, type Registry } from '@bufbuild/protobuf'
import { createRequire } from 'node:module'
import { toFileDescriptorSet, type FileRow } from '../descriptor-rows.ts'
import { ROWS as OURS } from '../gen/descriptor-rows.ts'
import { loadRegistry } from '../registry.ts'
import { mergeWith } from './delta.ts'

/** A part of the bundle of its own: an agent that is told by a control plane never needs it. */
const beyond = (): { readonly ROWS: string } => createRequire(import.meta.url)('./rows.ts') as { readonly ROWS: string }

/** Of the release of Envoy that rows.ts names. */
export function mergeFullRows(): FileRow[] {
  return mergeWith(JSON.parse(beyond().ROWS) as FileRow[], JSON.parse(OURS) as FileRow[])
}

let made: Registry | undefined

/** Istio's own messages are those of registry.ts. */
export function loadFullRegistry(): Registry {
  if (made) return made
  const all = createFileRegistry(toFileDescriptorSet(mergeFullRows()))
  return (made = createRegistry(...[...loadRegistry()].filter((type) => !all.get(type.typeName)), all))
}
