/** What a person wants to know of a running agent; /status serves it, `meshlet status` prints it. */
import type { WorkloadHealth } from '../../model/readiness-probe.ts'

export type Problem = { readonly code: string; readonly text: string; readonly remedy: string }

export type AgentStatus = {
  readonly version: string
  readonly node: string
  readonly state: 'starting' | 'ready' | 'draining'
  /** Latches that are still held, in words. */
  readonly waitingFor: readonly string[]
  readonly uptimeSec: number
  readonly control: {
    readonly mode: 'control plane' | 'directory'
    readonly address: string
    readonly link: 'connected' | 'connecting' | 'waiting' | 'watching'
    readonly sinceSec: number
    /** Removed by the control plane, but still in force for a while (control.shrinkHoldMs). */
    readonly heldClusters: number
    /** Seconds since anything came from the control plane, earlier runs included; undefined = never. */
    readonly lastContactSec: number | undefined
    /** Of the way to a hub's relay; undefined: none, or not measured yet. */
    readonly rttMs: number | undefined
    /** Connections to a hub's relay since the start. */
    readonly connections: number
    /** Of messages since the start, by what they were for. */
    readonly bytes: readonly { readonly purpose: string; readonly sent: number; readonly received: number }[]
  }
  readonly certificate:
    | {
        readonly spiffeId: string
        readonly serial: string
        readonly notAfter: string
        readonly expiresInSec: number
        readonly renewalInSec: number | undefined
      }
    | undefined
  readonly config: {
    readonly generation: number
    readonly stale: boolean
    /** Seconds since the last push was applied; undefined = nothing yet. */
    readonly ageSec: number | undefined
    /** Seconds since the last change, by kind. */
    readonly changedSec: Readonly<Record<string, number>>
    readonly resources: Readonly<Record<string, number>>
    /** `blocked`: in force except for the pieces with these issues, which refuse. Otherwise the version before stays in force. */
    readonly rejected: readonly {
      readonly kind: string
      readonly name: string
      readonly blocked: boolean
      readonly issues: readonly string[]
    }[]
    readonly ignoredFields: number
    /**
     * The same by field, most frequent first: what was received and is not acted upon, e.g.
     * `filter_chains[].filters[].typed_config.tracing`.
     */
    readonly ignored: readonly { readonly field: string; readonly resources: number; readonly example: string }[]
    /**
     * Features that are asked for and not implemented, in words, the most frequent first: e.g. `requests are not mirrored
     * (request_mirror_policies)`.
     */
    readonly skipped: readonly { readonly what: string; readonly resources: number; readonly example: string }[]
  }
  /** Undefined without a readinessProbe. `told`: the control plane hears of it. */
  readonly workload:
    | {
        readonly probe: string
        readonly state: WorkloadHealth['state']
        readonly reason: string | undefined
        readonly sinceSec: number
        readonly told: boolean
      }
    | undefined
  readonly listeners: readonly {
    readonly name: string
    readonly address: string
    readonly state: 'listening' | 'failed' | 'draining'
    readonly connections: number
    readonly error: string | undefined
  }[]
  /** Undefined when agent.yaml has no `dns`. `names`: hosts in the mesh's name table, undefined before the first. */
  readonly dns:
    | {
        readonly address: string
        readonly names: number | undefined
        readonly cached: number
        readonly upstreams: readonly string[]
      }
    | undefined
  /** Keys of issuers of tokens that this agent fetches. `ageSec` undefined: never fetched, or nobody knows when. */
  readonly keys: readonly {
    readonly url: string
    readonly keys: number
    readonly ageSec: number | undefined
    /** Why the last fetch failed. */
    readonly error: string | undefined
  }[]
  readonly http: {
    readonly requests: number
    readonly retriesSent: number
    readonly retriesHeldBack: number
    readonly denied: number
  }
  readonly mqtt: { readonly connections: number; readonly sessions: number; readonly retained: number }
  readonly spool: {
    readonly profile: string
    readonly messages: number
    readonly bytes: number
    readonly maxBytes: number
    /** To the device since the start; undefined: the system does not say. */
    readonly writtenBytes: number | undefined
    /** In a day, as in the last `overSec` seconds. */
    readonly writtenPerDay: { readonly bytes: number; readonly overSec: number } | undefined
    /** Kept beside it, as it was opened. */
    readonly damagedFiles: number
    readonly damagedBytes: number
  }
  readonly bridge: readonly {
    readonly cluster: string
    readonly state: string
    readonly queued: number
    readonly sent: number
    readonly received: number
    readonly setAside: number
    readonly error: string | undefined
    /** Filters of routes down that the broker does not grant. */
    readonly refusedFilters?: readonly string[]
    /** Primary Host Applications of Sparkplug that routes wait for. */
    readonly hosts?: readonly {
      readonly hostId: string
      readonly state: string
      readonly awaySec: number | undefined
      readonly held: number
    }[]
  }[]
  /** Everything that is wrong now, worst first. */
  readonly problems: readonly Problem[]
}
