/**
 * agent.yaml: every setting with its unit in the name, its default and its range. Unknown keys fail. Schemas are made
 * when they are asked for and gone after it: a start needs them once, and each is some fifty closures.
 */
import * as z from 'zod'
import { isLoopback } from '../../model/browser.ts'
import { createMqttPolicySchema } from '../../model/mqtt-policy.ts'
import { createMqttUsersSchema } from '../../model/mqtt/users.ts'
import { control } from './schema/control.ts'
import { dns } from './schema/dns.ts'
import { file, port } from './schema/fields.ts'
import { identity } from './schema/identity.ts'
import { limits } from './schema/limits.ts'
import { listener } from './schema/listeners.ts'
import { findListenerUserProblems } from './schema/listener-users.ts'
import { node } from './schema/node.ts'
import { telemetry } from './schema/telemetry.ts'
import { createReadinessProbeSchema } from './schema/readiness-probe.ts'

export const createAgentConfigSchema = () => settings().superRefine(refuseContradictions)

const settings = () =>
  z.strictObject({
    node: node().prefault({}),
    control: control().optional(),
    /** Folder of Envoy-format resource files, instead of a control plane. */
    directory: file().optional(),
    identity: identity().prefault({}),
    state: file().default('/var/lib/meshlet'),
    /**
     * `explicit`: applications are pointed at meshlet. `transparent` and `redirect`: istiod sends the listeners 15001
     * and 15006. The first serves with sockets that systemd passes, the second cannot (capture.ts). Istio's
     * interception modes NONE, TPROXY and REDIRECT.
     */
    capture: z.enum(['explicit', 'transparent', 'redirect']).default('explicit'),
    /**
     * Whoever reaches it can read everything and stop the agent: an address that others reach needs `acceptAnyone`.
     */
    admin: z
      .strictObject({
        address: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
        port: port().default(15_000),
        acceptAnyone: z.boolean().optional(),
      })
      .prefault({}),
    listeners: z.array(listener()).default([]),
    mqtt: createMqttPolicySchema().extend({ users: createMqttUsersSchema().optional() }).prefault({}),
    /**
     * After the boot of the machine the stream to the control plane and each bridge wait for a time of their own, this at
     * most.
     */
    bootSpreadMs: z.number().int().nonnegative().max(600_000).default(30_000),
    /** Absent = no DNS. */
    dns: dns().optional(),
    /**
     * Asks whether the workload behind this node works; told to istiod for a node with AUTO_REGISTER_GROUP or
     * WORKLOAD_ENTRY.
     */
    readinessProbe: createReadinessProbeSchema().optional(),
    /**
     * Retries as Envoy makes them: what a retry policy names is sent again, also where an application may have begun with
     * it. Routes say otherwise by their metadata `meshlet.io/retry-unsafe`.
     */
    retryUnsafe: z.boolean().default(false),
    limits: limits().prefault({}),
    telemetry: telemetry().prefault({}),
    log: z
      .strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') })
      .prefault({}),
  })

export type AgentConfig = z.infer<ReturnType<typeof settings>>
export type ListenerConfig = AgentConfig['listeners'][number]

/** What no setting can tell by itself. */
function refuseContradictions(c: AgentConfig, ctx: z.RefinementCtx<AgentConfig>): void {
  const refuse = (path: PropertyKey[], message: string): void => ctx.addIssue({ code: 'custom', path, message })
  if (!c.control && !c.directory)
    refuse([], 'one of `control` or `directory` is needed: where does the configuration come from?')
  if (c.node.type === 'router' && c.capture !== 'explicit') refuse(['capture'], 'a gateway captures nothing')
  if (c.control && c.directory) refuse(['directory'], '`control` and `directory` exclude each other')
  if (!isLoopback(c.admin.address) && !c.admin.acceptAnyone)
    refuse(
      ['admin', 'address'],
      'is no loopback address: whoever reaches it can read everything and stop the agent. If that is meant, say `acceptAnyone: true` beside it',
    )
  const names = new Set<string>()
  c.listeners.forEach((l, i) => {
    if (names.has(l.name)) refuse(['listeners', i, 'name'], `the name "${l.name}" is used twice`)
    names.add(l.name)
    if ('tls' in l && l.tls?.mode === 'mutual' && !c.control && c.identity.folder === undefined)
      refuse(
        ['listeners', i, 'tls'],
        'mode `mutual` shows the mesh identity, which comes from `control` or `identity.folder`; neither is there',
      )
    if (l.kind === 'mqtt')
      for (const { path, message } of findListenerUserProblems(l, c.mqtt))
        refuse(['listeners', i, 'mqtt', ...path], message)
  })
}
