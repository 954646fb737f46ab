/** Which hub a command is about: that of this machine, or one on another. */
import { openClient } from '../console/remote-login.ts'
import { withState, type ConfigOptions } from '../open.ts'
import type { Io } from '../io.ts'
import { LocalDevices } from './local-devices.ts'
import { LocalPeople } from './local-people.ts'
import { LocalRevisions, LocalRollouts } from './local-rollouts.ts'
import { LocalTokens } from './local-tokens.ts'
import type { Operations } from './operations.ts'
import { RemoteDevices } from './remote-devices.ts'
import { RemotePeople } from './remote-people.ts'
import { RemoteRevisions, RemoteRollouts } from './remote-rollouts.ts'
import { RemoteTokens } from './remote-tokens.ts'

/** @param o.hub its address, where it is on another machine (hub-option.ts) */
export type HubOptions = ConfigOptions & { readonly hub?: string | undefined }

export async function withOperations<T>(o: HubOptions, io: Io, work: (at: Operations) => Promise<T>): Promise<T> {
  if (o.hub === undefined)
    return await withState(o, (state) => {
      const beside = { ...state, io }
      return work({
        devices: new LocalDevices(beside),
        tokens: new LocalTokens(beside),
        rollouts: new LocalRollouts(beside),
        revisions: new LocalRevisions(beside),
        people: new LocalPeople(beside),
      })
    })
  using client = openClient(o.hub, io)
  return await work({
    devices: new RemoteDevices(client),
    tokens: new RemoteTokens(client),
    rollouts: new RemoteRollouts(client),
    revisions: new RemoteRevisions(client),
    people: new RemotePeople(client),
  })
}
