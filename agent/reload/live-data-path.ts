/**
 * What a running agent takes from a changed agent.yaml for its data path: listeners, users, rules and routes. Files that
 * are named anew have to be usable; of a listener whose file was missing before, too, this is nothing new.
 */
import type { Current } from '../../core/current.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Disk } from '../../core/os/disk.ts'
import type { Listener } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'
import type { AclFiles } from '../../protocols/mqtt/authorization/acl-files.ts'
import type { UserDatabase } from '../../protocols/mqtt/users/user-database.ts'
import { collectOwnRoutes, createListeners } from '../config/listeners.ts'
import { findPortMistakes } from '../config/ports.ts'
import type { AgentConfig } from '../config/schema.ts'
import { findWhatIsTold } from '../control-sync-settings.ts'
import { collectAclFiles } from '../mqtt-policies.ts'
import type { OwnNode } from '../own-node.ts'
import type { LiveSettings } from './reloader.ts'

type Parts = {
  /** As everybody has it: what is live is changed in place. */
  readonly config: AgentConfig
  readonly disk: Disk
  /** Listeners of agent.yaml, as everybody has them: the list is changed in place, its members are not. */
  readonly own: Listener[]
  /** Route tables that they name. */
  readonly ownRoutes: Current<ReadonlySet<string>>
  readonly node: Pick<OwnNode, 'use'>
  readonly tables: Current<Tables>
  readonly acls: Pick<AclFiles, 'prepare'>
  readonly users: Pick<UserDatabase, 'prepare' | 'findKey'>
}

/** The store was opened with its profile, and the timer of `$SYS` was set. */
const FROM_THE_START = ['mqtt.spool.profile', 'mqtt.sysIntervalSec'] as const

export function createLiveDataPath(p: Parts): LiveSettings {
  return {
    settings: ['listeners', 'mqtt'],
    exceptions: FROM_THE_START,
    async prepare(next) {
      refuseMistakes(next)
      const listeners = prepareListeners(next, p)
      using prepared = new DisposableStack()
      const acls = prepared.use(await p.acls.prepare(collectAclFiles(listeners)))
      const users = prepared.use(await p.users.prepare(next.mqtt.users))
      const open = prepared.move()
      return {
        renewed: findRenewed(listeners, p.own),
        commit() {
          for (const one of [acls, users]) one.commit()
          putInForce(next, listeners, p)
        },
        [Symbol.dispose]: () => open.dispose(),
      }
    },
  }
}

/** @throws MESH_CONFIG_INVALID */
function refuseMistakes(next: AgentConfig): void {
  const mistakes = findPortMistakes(next)
  if (mistakes.length > 0) throw new MeshError('MESH_CONFIG_INVALID', mistakes.join('\n'))
}

/**
 * Those that are as they were stay the same objects, so that their connections are left alone.
 * @throws MESH_LISTENER_TLS
 */
function prepareListeners(next: AgentConfig, { config, disk, own, users }: Parts): Listener[] {
  const before = new Map(own.map((one) => [one.name, one]))
  const settings = new Map(config.listeners.map((one) => [one.name, JSON.stringify(one)]))
  return createListeners(next, { disk, findPskKey: (id) => users.findKey(id) }).map((made, i) => {
    const known = before.get(made.name)
    const isNamedAlike = settings.get(made.name) === JSON.stringify(next.listeners[i])
    const failure = attempt(made)
    if (failure && !(known && isNamedAlike && attempt(known))) throw failure
    return known && isSame(known, made) ? known : made
  })
}

/** Those whose certificate or key is another. */
function findRenewed(listeners: readonly Listener[], own: readonly Listener[]): string[] {
  const before = new Map(own.map((one) => [one.name, one]))
  return listeners
    .filter((one) => {
      const known = before.get(one.name)
      return known && JSON.stringify(known.defaultFilterChain?.tls) !== JSON.stringify(one.defaultFilterChain?.tls)
    })
    .map(({ name }) => `listeners.${name}.tls`)
}

function attempt({ prepare }: Listener): MeshError | undefined {
  try {
    prepare?.()
    return undefined
  } catch (thrown) {
    return toMeshError(thrown)
  }
}

/** With the certificates and keys that were read. */
function isSame(a: Listener, b: Listener): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function putInForce(next: AgentConfig, listeners: readonly Listener[], p: Parts): void {
  const { config, own, ownRoutes, node, tables } = p
  const { spool, sysIntervalSec: _, ...others } = next.mqtt
  // Settings that are left out are gone.
  for (const name of Object.keys(config.mqtt)) if (!(name in next.mqtt)) Reflect.deleteProperty(config.mqtt, name)
  Object.assign(config.mqtt, others)
  Object.assign(config.mqtt.spool, { ...spool, profile: config.mqtt.spool.profile })
  Object.assign(config, { listeners: next.listeners })
  own.splice(0, own.length, ...listeners)
  const routes = collectOwnRoutes(own)
  if (routes.symmetricDifference(ownRoutes.get()).size > 0) ownRoutes.swap(routes)
  node.use(findWhatIsTold(next))
  // Ports, connections, sessions and bridges look at everything again.
  tables.swap(tables.get())
}
