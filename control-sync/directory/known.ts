/** The messages that files may contain. */
import { loadFullRegistry } from '../../proto/full/registry.ts'
import { loadRegistry } from '../../proto/registry.ts'
import type { Known } from './text/locate.ts'

/** Fields and types that meshlet decodes: enough for most files, and loaded already. */
export const listOwnMessages = (): Known => ({ registry: loadRegistry() })

let all: Known | undefined
/** All fields and types of Envoy. */
export const listAllMessages = (): Known => (all ??= { registry: loadFullRegistry() })
