import { type DescFile, type DescService, type MessageInitShape, createRegistry, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ServiceImpl } from '@connectrpc/connect';
import type {
  ServerReflection,
  ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';

type Response = MessageInitShape<typeof ServerReflectionResponseSchema>;

/** gRPC's server reflection: clients such as `buf curl` and `grpcurl` ask it what there is to call. */
export function reflection(services: readonly DescService[]): ServiceImpl<typeof ServerReflection> {
  const files = withImports(services.map((service) => service.file));
  const registry = createRegistry(...files.values());
  const answer = (request: ServerReflectionRequest): Response => {
    const asked = request.messageRequest;
    switch (asked.case) {
      case 'listServices':
        return listing(services);
      case 'fileByFilename':
        return file(files.get(asked.value), asked.value);
      case 'fileContainingSymbol':
        return file((registry.get(asked.value) ?? owner(services, asked.value))?.file, asked.value);
      case 'fileContainingExtension':
      case 'allExtensionNumbersOfType':
        return failure(Code.NotFound, 'there are no extensions');
      case undefined:
        return failure(Code.InvalidArgument, 'message_request is missing');
    }
  };
  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, ...answer(request) };
      }
    },
  };
}

function listing(services: readonly DescService[]): Response {
  const names = services.map((service) => ({ name: service.typeName }));
  return { messageResponse: { case: 'listServicesResponse', value: { service: names } } };
}

/** A file with all that it imports, so that one answer is enough. */
function file(found: DescFile | undefined, name: string): Response {
  if (found === undefined) return failure(Code.NotFound, `${name} is not known`);
  const protos = [...withImports([found]).values()].map((each) => toBinary(FileDescriptorProtoSchema, each.proto));
  return { messageResponse: { case: 'fileDescriptorResponse', value: { fileDescriptorProto: protos } } };
}

function failure(code: Code, message: string): Response {
  return { messageResponse: { case: 'errorResponse', value: { errorCode: code, errorMessage: message } } };
}

/** The service that a method's full name belongs to. */
function owner(services: readonly DescService[], symbol: string): DescService | undefined {
  return services.find((service) => service.methods.some((method) => `${service.typeName}.${method.name}` === symbol));
}

function withImports(roots: readonly DescFile[]): Map<string, DescFile> {
  const files = new Map<string, DescFile>();
  const visit = (each: DescFile): void => {
    if (files.has(each.proto.name)) return;
    files.set(each.proto.name, each);
    each.dependencies.forEach(visit);
  };
  roots.forEach(visit);
  return files;
}
