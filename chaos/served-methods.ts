import { create, createFileRegistry, type DescMethod, fromBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { clientOf } from '../demo/clients.ts';
import { ServerReflection, ServerReflectionRequestSchema } from '../gen/grpc/reflection/v1/reflection_pb.ts';

/** Every method that meterd says it serves: a new one is tried without a change here. */
export async function servedMethods(url: string): Promise<DescMethod[]> {
  const client = clientOf(ServerReflection, url, '');
  async function* ask() {
    yield create(ServerReflectionRequestSchema, { messageRequest: { case: 'listServices', value: '' } });
  }
  const names: string[] = [];
  for await (const { messageResponse } of client.serverReflectionInfo(ask())) {
    if (messageResponse.case === 'listServicesResponse')
      names.push(...messageResponse.value.service.map(({ name }) => name));
  }
  async function* askFiles() {
    for (const name of names) {
      yield create(ServerReflectionRequestSchema, { messageRequest: { case: 'fileContainingSymbol', value: name } });
    }
  }
  const files = new Map<string, FileDescriptorProto>();
  for await (const { messageResponse } of client.serverReflectionInfo(askFiles())) {
    if (messageResponse.case !== 'fileDescriptorResponse') continue;
    for (const bytes of messageResponse.value.fileDescriptorProto) {
      const file = fromBinary(FileDescriptorProtoSchema, bytes);
      files.set(file.name, file);
    }
  }
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(files) }));
  const services = names.filter((name) => !name.startsWith('grpc.')).map((name) => registry.getService(name));
  return services.flatMap((service) => service?.methods ?? []);
}

function importsFirst(files: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const sorted = new Set<FileDescriptorProto>();
  const visit = (name: string): void => {
    const file = files.get(name);
    if (file === undefined || sorted.has(file)) return;
    file.dependency.forEach(visit);
    sorted.add(file);
  };
  for (const name of files.keys()) visit(name);
  return [...sorted];
}
