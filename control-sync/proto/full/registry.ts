/**
 * Messages as Envoy has them, not only with the fields that meshlet knows: for files of resources. What a person writes is judged by the names that Envoy has,
 * and goes into bytes whole: an Envoy that the hub serves needs what meshlet does not act upon. Takes megabytes once it is asked for.
 */
import { createFileRegistry, createRegistry, type Registry } from '@bufbuild/protobuf'
import { createRequire } from 'node:module'
import { fileDescriptorSet, type FileRow } from '../descriptor-rows.ts'
import { registry } from '../registry.ts'

/** A part of the bundle of its own: an agent that is told by a control plane never needs it. */
const rows = (): { readonly ROWS: string; readonly OTHERS: string } => createRequire(import.meta.url)('./rows.ts') as ReturnType<typeof rows>

let made: Registry | undefined

/** Istio's own messages are those of registry.ts. */
export function fullRegistry(): Registry {
  if (made) return made
  const all = createFileRegistry(fileDescriptorSet(JSON.parse(rows().ROWS) as FileRow[]))
  return (made = createRegistry(...[...registry()].filter((type) => !all.get(type.typeName)), all))
}

/** Full names of messages that Envoy knows as a typed configuration and that are in no registry here. */
export function otherTypes(): readonly string[] {
  return rows().OTHERS.split('\n').flatMap((line) => {
    const [package_, ...names] = line.split(' ')
    return names.map((name) => `${package_}.${name}`)
  })
}
