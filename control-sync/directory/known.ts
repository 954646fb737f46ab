/** By which messages a file is read. */
import { loadFullRegistry } from '../../proto/full/registry.ts'
import { loadRegistry } from '../../proto/registry.ts'
import type { Known } from './text/locate.ts'

/** Fields and types that meshlet itself has: enough for most files, and at hand. */
export const listOwnMessages = (): Known => ({ registry: loadRegistry() })

let all: Known | undefined
/** All that Envoy has. */
export const listAllMessages = (): Known => (all ??= { registry: loadFullRegistry() })
