/** A client's side that passes on what it is told: what filters of bodies are made from. */
import type { Duplex } from 'node:stream'
import type { Downstream, ResponseHead } from '../../message.ts'

export class Through implements Downstream {
  protected readonly inner: Downstream
  constructor(inner: Downstream) {
    this.inner = inner
  }

  /** All was said, and some of it is still being made. */
  get isEnding(): boolean {
    return this.inner.isEnding ?? false
  }
  /** The client takes more. @returns false: somebody here does not */
  drained(): boolean {
    return this.inner.drained?.() ?? true
  }
  sendContinue(): void {
    this.inner.sendContinue()
  }
  sendInformational(head: ResponseHead): void {
    this.inner.sendInformational(head)
  }
  sendHead(head: ResponseHead, end: boolean): void {
    this.inner.sendHead(head, end)
  }
  sendData(chunk: Buffer): void {
    this.inner.sendData(chunk)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    this.inner.sendEnd(trailers)
  }
  flush(): boolean {
    return this.inner.flush()
  }
  pauseRequest(): void {
    this.inner.pauseRequest()
  }
  resumeRequest(): void {
    this.inner.resumeRequest()
  }
  takeOver(head: ResponseHead): { readonly stream: Duplex; readonly rest: Buffer | undefined } {
    return this.inner.takeOver(head)
  }
  setIdleMs(ms: number): void {
    this.inner.setIdleMs(ms)
  }
  finished(error: Parameters<Downstream['finished']>[0]): void {
    this.inner.finished(error)
  }
}
