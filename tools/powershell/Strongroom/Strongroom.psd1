@{
    RootModule           = 'Strongroom.psm1'
    ModuleVersion        = '0.1.0'
    GUID                 = '5b8c9b55-0c5a-4a77-9d0c-6f2a4f0f7c11'
    Author               = 'Strongroom'
    Description          = 'Strongroom: Microsoft 365 backup. Jobs and sessions over the REST API.'
    PowerShellVersion    = '7.4'
    CompatiblePSEditions = @('Core')
    FormatsToProcess     = @('Strongroom.Format.ps1xml')
    FunctionsToExport    = @(
        'Connect-SRServer'
        'Disconnect-SRServer'
        'Get-SRJob'
        'Get-SRJobSession'
        'Start-SRJob'
    )
    CmdletsToExport      = @()
    VariablesToExport    = @()
    AliasesToExport      = @()
}
