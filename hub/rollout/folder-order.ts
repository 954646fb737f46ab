/**
 * Several hubs have a folder each, and these follow one another as fast as whoever copies them. Only a hub whose folder
 * stood at what is in force may change it: what another one still has, or has again from a backup, is told.
 */
import type { Registry } from '../registry/registry.ts'
import type { FolderState } from '../registry/rollout/rollouts.ts'

/** A hub among several on one registry. */
export type HubOfFolder = {
  /** The same over its restarts. */
  readonly id: string
  /** For people. */
  readonly host: string
}

/** @returns why the revision of this hub's folder is not taken for a change; undefined: it is one */
export async function explainBehind(
  registry: Registry,
  hub: HubOfFolder,
  found: { readonly id: string; readonly newest: FolderState },
): Promise<string | undefined> {
  const { id, newest } = found
  if (newest.revision === undefined || newest.revision === id) return undefined
  const previous = (await registry.rollouts.folders()).get(hub.id)?.revision
  if (previous === newest.revision) return undefined
  if (previous === undefined)
    // A hub that is new here: with what nobody has had yet it brings a change.
    return (await wasTaken(registry, id)) ? `has the revision ${id}, which others have replaced` : undefined
  if (previous === id) return `still has the revision ${id}, which others have replaced`
  const { assignments, active } = await registry.rollouts.desired()
  const inForce = assignments.find(({ scope }) => scope.kind === 'all')?.revision
  // An operator, or a gate, has gone back to it: a change of that is as good as one of the newest.
  if (!active && previous === inForce) return undefined
  return `went from ${previous} to ${id} without ever having had ${newest.revision}`
}

/** The audit log remembers for longer than revisions are kept. */
async function wasTaken(registry: Registry, id: string): Promise<boolean> {
  const known = await registry.audit.list({ subject: id, most: 1 })
  return known.length > 0 || (await registry.revisions.get(id)) !== undefined
}
