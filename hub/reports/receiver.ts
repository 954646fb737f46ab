/**
 * The reports of one device, as they come over its connection: read, checked, and taken under the name that its
 * configuration stream has proved. What comes before that stream has begun waits for it.
 */
import { MeshError, toMeshError } from '../../core/errors.ts'
import { unpackMessage } from '../../core/relay/compression.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import { decodeReport } from '../../model/fleet/report-message.ts'
import { REPORT_LIMITS, type Report } from '../../model/fleet/report.ts'

/** A node whose configuration stream goes over the connection. */
export type NamedNode = {
  readonly name: string
  /** Of all that it has been sent. */
  readonly computeContent: () => string
}
export type ReceiverOptions = {
  readonly take: (name: string, report: Report, expected: string) => void
  /** Throws MESH_CONTROL_SLOW_DOWN: it has sent too many. */
  readonly admit: () => void
  /** A stream was refused. */
  readonly refused: (reason: MeshError) => void
}

export class ReportReceiver {
  readonly #o: ReceiverOptions
  readonly #nodes = new Set<NamedNode>()
  #stream: RelayStream | undefined
  #report: Report | undefined
  #isWaiting = false
  /** Of the report before, by what it depends on. */
  #expected: { readonly of: string; readonly content: string } | undefined

  constructor(options: ReceiverOptions) {
    this.#o = options
  }

  get nodeNames(): readonly string[] {
    return [...this.#nodes].map(({ name }) => name)
  }

  /** A configuration stream has begun; disposing is its end. */
  enter(node: NamedNode): Disposable {
    this.#nodes.add(node)
    this.#expected = undefined
    if (this.#isWaiting && this.#stream) this.#guarded(this.#stream, () => this.#pass())
    return {
      [Symbol.dispose]: () => {
        this.#nodes.delete(node)
      },
    }
  }

  /** Throws MESH_CONTROL_PROTOCOL: the device has a stream of reports already. */
  accept(stream: RelayStream): void {
    if (this.#stream && !this.#stream.isOver)
      throw new MeshError('MESH_CONTROL_PROTOCOL', 'a connection has one stream of reports')
    this.#stream = stream
    this.#report = undefined
    stream.listen({
      onMessage: (message) => this.#onMessage(stream, message),
      onReset: (reason) => {
        // Too long to be read at all.
        if (reason.code === 'MESH_CONTROL_PROTOCOL') this.#o.refused(reason)
      },
    })
  }

  #onMessage(stream: RelayStream, message: Uint8Array): void {
    this.#guarded(stream, () => {
      this.#o.admit()
      this.#report = decodeReport(unpackMessage(message, REPORT_LIMITS.bytes), this.#report)
      this.#pass()
    })
  }
  #guarded(stream: RelayStream, work: () => void): void {
    try {
      work()
    } catch (thrown) {
      const reason = toMeshError(thrown)
      this.#report = undefined
      this.#isWaiting = false
      stream.reset(reason)
      this.#o.refused(reason)
    }
  }

  /** Throws MESH_CONTROL_PROTOCOL. */
  #pass(): void {
    const [node, ...others] = this.#nodes
    this.#isWaiting = node === undefined
    if (!node || !this.#report) return
    if (others.some(({ name }) => name !== node.name))
      throw new MeshError('MESH_CONTROL_PROTOCOL', 'a connection of several nodes has no reports')
    this.#o.take(node.name, this.#report, this.#computeExpected(node, this.#report))
  }

  /** Reports that say the same of the configuration are compared with the same. */
  #computeExpected(node: NamedNode, { content, desired, refused }: Report): string {
    const of = JSON.stringify([node.name, content, desired, refused])
    if (this.#expected?.of !== of) this.#expected = { of, content: node.computeContent() }
    return this.#expected.content
  }
}
