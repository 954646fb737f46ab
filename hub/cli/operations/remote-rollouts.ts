/** Rollouts and revisions, over the API. */
import { deviceRevisionPage, filePage, rolloutRecords, rolloutStatus } from '../../console/record-schemas.ts'
import {
  revisionDiff,
  revisionList,
  rolloutDone,
  type RolloutBody,
  type RolloutItem,
} from '../../console/rollout-schemas.ts'
import { selectRevision } from '../../registry/rollout/revisions.ts'
import type { RolloutRecord } from '../../registry/rollout/rollouts.ts'
import type { RolloutStatus } from '../../reports/rollout-status.ts'
import type { DeviceRevision } from '../../rollout/who.ts'
import type { HubClient } from '../console/client.ts'
import type {
  ComparedRevisions,
  RevisionOperations,
  RolloutChange,
  RolloutOperations,
  RolloutWish,
  UsedRevision,
} from './operations.ts'
import { readPages } from './pages.ts'

export class RemoteRollouts implements RolloutOperations {
  readonly #client: HubClient
  constructor(client: HubClient) {
    this.#client = client
  }

  async start(wish: RolloutWish): Promise<RolloutItem> {
    const body: { readonly [K in keyof RolloutBody]: RolloutBody[K] | undefined } = wish
    const { rollout } = await this.#client.ask({ method: 'POST', path: 'rollouts', body, answer: rolloutDone })
    return rollout
  }
  async change(what: RolloutChange, why: string | undefined): Promise<RolloutItem> {
    const path = `rollouts/current/${what}`
    const { rollout } = await this.#client.ask({ method: 'POST', path, body: { why }, answer: rolloutDone })
    return rollout
  }
  async status(): Promise<RolloutStatus> {
    return (await this.#client.ask({ path: 'rollouts/status', answer: rolloutStatus })) as RolloutStatus
  }
  async list(): Promise<readonly RolloutRecord[]> {
    return (await this.#client.ask({ path: 'rollouts/records', answer: rolloutRecords })).rollouts
  }
}

export class RemoteRevisions implements RevisionOperations {
  readonly #client: HubClient
  constructor(client: HubClient) {
    this.#client = client
  }

  async list(): ReturnType<RevisionOperations['list']> {
    const rows = await this.#list()
    const { folder } = await new RemoteRollouts(this.#client).status()
    return { rows, folder }
  }
  async show(text: string): ReturnType<RevisionOperations['show']> {
    const { use: _use, ...row } = await this.#find(text)
    const { rows: files } = await readPages(async (query) => {
      const { total, files: rows } = await this.#client.ask({
        path: `revisions/${encodeURIComponent(row.id)}/files`,
        query,
        answer: filePage,
      })
      return { total, rows }
    })
    return { row, files }
  }
  async compare(from: string, to: string): Promise<ComparedRevisions> {
    const [{ id: before }, { id: after }] = [await this.#find(from), await this.#find(to)]
    const path = `revisions/${encodeURIComponent(before)}/diff/${encodeURIComponent(after)}`
    const { files, isCut } = await this.#client.ask({ path, query: { whole: 'true' }, answer: revisionDiff })
    return { before, after, diffs: files, isCut }
  }
  async who(text: string | undefined): Promise<readonly DeviceRevision[]> {
    const revision = text === undefined ? undefined : (await this.#find(text)).id
    const { rows } = await readPages(async (place) => {
      const query = { revision, ...place }
      const { total, devices } = await this.#client.ask({ path: 'device-revisions', query, answer: deviceRevisionPage })
      return { total, rows: devices }
    })
    return rows
  }

  async #list(): Promise<readonly UsedRevision[]> {
    return (await this.#client.ask({ path: 'revisions', answer: revisionList })).revisions
  }
  async #find(text: string): Promise<UsedRevision> {
    return selectRevision(await this.#list(), text)
  }
}
