/** Of what has no exchange: a connection, or bytes that were no request. */
export class FactsWithoutExchange {
  readonly upstreamProtocol = undefined
  readonly grpcStatus = undefined
  readonly metadata = undefined
  readonly routeName = undefined
  readonly traceId = undefined
  readonly spanId = undefined

  request(): undefined {
    return undefined
  }
  response(): undefined {
    return undefined
  }
  trailer(): undefined {
    return undefined
  }
}
